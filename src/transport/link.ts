import type { Clock, Timer } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import { FRAME_BYTES_MAX } from '../codec/limits.js';
import type { Wire, WireEnd } from './network.js';
import { CLOSE_CODE, type CloseCode, closeCodeOf, GREETING_TIMEOUT_MS } from './rules.js';

/** Close reasons hold 123 bytes (RFC 6455 §5.5). */
const REASON_BYTES_MAX = 123;

/** A wire whose frames have a meaning: decoded ones go to whoever listens, and what cannot be decoded ends it. */
export class Link {
  /** Resolves when nothing of the connection is left. */
  readonly gone: Promise<void>;
  readonly remote: string;
  private receive: ((frame: Uint8Array) => void) | null = null;
  private ended: ((end: WireEnd) => void) | null = null;
  private refused: MootError | null = null;
  private late: Timer | undefined;
  private closing = false;

  constructor(
    private readonly wire: Wire,
    private readonly clock: Clock,
    /** Beyond this the other side does not read, and is left. */
    private readonly queueBytesMax: number,
  ) {
    this.remote = wire.remote;
    this.gone = new Promise((resolve) => {
      wire.listen({
        onFrame: (frame) => {
          if (!this.closing) this.receive?.(frame);
        },
        onEnd: (end) => {
          this.closing = true;
          this.late?.cancel();
          this.ended?.({ ...end, refused: this.refused ?? end.refused });
          resolve();
        },
      });
    });
  }

  get queuedBytes(): number {
    return this.wire.queuedBytes;
  }

  /**
   * Frames go to `handle` as what `decode` makes of them; one that cannot be decoded ends the link.
   * An error of `handle` itself is a bug and is not caught.
   */
  listen<M>(decode: (frame: Uint8Array) => M, handle: (message: M) => void): void {
    this.receive = (frame) => {
      let message: M;
      try {
        message = decode(frame);
      } catch (error) {
        if (!isMootError(error)) throw error;
        this.refuse(error);
        return;
      }
      handle(message);
    };
  }

  /** Called once, whoever ended it, and never from within a call of the link's. The last one given counts. */
  onEnd(ended: (end: WireEnd) => void): void {
    this.ended = ended;
  }

  /**
   * The first frame, within the time for it. `check` throws a MootError, or says at once who
   * listens next, since more frames may have come with it.
   */
  expectGreeting<G>(decode: (frame: Uint8Array) => G, check: (greeting: G) => void): void {
    this.late = this.clock.setTimer(GREETING_TIMEOUT_MS, () => {
      this.refuse(new MootError('BAD_MESSAGE', 'no greeting came'), CLOSE_CODE.greetingLate);
    });
    this.listen(decode, (greeting) => {
      this.late?.cancel();
      this.receive = null;
      try {
        check(greeting);
      } catch (error) {
        if (!isMootError(error)) throw error;
        this.refuse(error);
      }
    });
  }

  send(frame: Uint8Array): void {
    if (this.closing) return;
    if (frame.length > FRAME_BYTES_MAX) {
      // The other side would refuse it. It asks anew, or elsewhere, over another connection.
      this.closing = true;
      this.wire.destroy(`a frame of ${frame.length} bytes is too large to be sent`);
      return;
    }
    this.wire.send(frame);
    if (this.queuedBytes <= this.queueBytesMax) return;
    this.closing = true;
    this.wire.destroy('the other side does not read');
  }

  /** What the other side sent cannot be; it is told why. */
  refuse(error: MootError, code: CloseCode = closeCodeOf(error.code)): void {
    if (this.closing) return;
    this.refused = error;
    this.close(code, error.message);
  }

  close(code: CloseCode, reason: string): void {
    if (this.closing) return;
    this.closing = true;
    this.wire.close(code, cut(reason));
  }

  /** Says goodbye, and does not wait for the answer. */
  shut(code: CloseCode, reason: string): Promise<void> {
    this.close(code, reason);
    this.clock.setTimer(0, () => this.wire.destroy(reason));
    return this.gone;
  }
}

function cut(reason: string): string {
  if (Buffer.byteLength(reason) <= REASON_BYTES_MAX) return reason;
  let end = REASON_BYTES_MAX;
  while (Buffer.byteLength(reason.slice(0, end)) > REASON_BYTES_MAX - 3) end--;
  return `${reason.slice(0, end)}…`;
}
