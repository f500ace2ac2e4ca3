import { MootError } from '../base/errors.js';

/** What a caller sent along, field by field. Every miss is BAD_ARGUMENT and names the field. */
export class Params {
  private readonly fields: ReadonlyMap<string, unknown>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new MootError('BAD_ARGUMENT', 'parameters are a JSON object');
    }
    this.fields = new Map(Object.entries(value));
  }

  number(name: string, low: number, high: number): number {
    const value = this.fields.get(name);
    if (typeof value === 'number' && value >= low && value <= high) return value;
    throw new MootError('BAD_ARGUMENT', `'${name}' must be a number from ${low} to ${high}`);
  }

  text(name: string, charsMax: number): string {
    const value = this.fields.get(name);
    if (typeof value === 'string' && value.length > 0 && value.length <= charsMax) return value;
    throw new MootError('BAD_ARGUMENT', `'${name}' must be a text of 1 to ${charsMax} characters`);
  }

  /** One of these texts. */
  choice<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.fields.get(name);
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw new MootError('BAD_ARGUMENT', `'${name}' must be one of ${choices.join(', ')}`);
  }

  /** A list of different ones of these texts. */
  choices<T extends string>(name: string, choices: readonly T[]): readonly T[] {
    const value = this.fields.get(name);
    const found = Array.isArray(value)
      ? choices.filter((choice) => value.includes(choice))
      : undefined;
    if (Array.isArray(value) && found?.length === value.length) return found;
    throw new MootError('BAD_ARGUMENT', `'${name}' must be a list out of ${choices.join(', ')}`);
  }
}
