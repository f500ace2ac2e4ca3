import { MootError } from '../base/errors.js';
import { decodeLogCommand } from '../codec/commands.js';
import { decodeConfiguration, encodeConfigurationAt } from '../codec/configuration.js';
import type { Entry } from '../raft/types.js';
import type { Committed } from './tree.js';

/** A committed entry, as the tree takes it. Throws DATA_CORRUPT: every entry was readable when it was proposed. */
export function committedOf({ index, term, kind, data }: Entry): Committed {
  try {
    return {
      mark: { index, term },
      command: kind === 'command' ? decodeLogCommand(data) : null,
      members:
        kind === 'configuration'
          ? encodeConfigurationAt({ index, configuration: decodeConfiguration(data) })
          : null,
    };
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', `entry ${index} of the log cannot be read`, { cause });
  }
}
