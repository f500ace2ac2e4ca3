import type { Greeting } from '../codec/greeting.js';
import { checkCluster } from './check-greeting.js';

/**
 * The cluster that a client is of. What it saw and did holds in one incarnation: that of the first
 * node it met which knew one.
 */
export class MetCluster {
  private first = 0;

  constructor(private readonly cluster: string) {}

  /** 0: not known yet. */
  get incarnation(): number {
    return this.first;
  }

  /** A node says who it is. Throws WRONG_CLUSTER. */
  meet(answer: Pick<Greeting, 'cluster' | 'incarnation'>): void {
    checkCluster(answer, { cluster: this.cluster, incarnation: this.first });
    this.first ||= answer.incarnation;
  }
}
