/**
 * Loaded before a process of ours (node --require): its clocks run a little wrong, and its wall
 * clock jumps now and then. MOOTFS_TORTURE_CLOCK is `rate,offsetMs,jumpMs`.
 */
const [rate = 1, offsetMs = 0, jumpMs = 0] = (process.env.MOOTFS_TORTURE_CLOCK ?? '')
  .split(',')
  .map(Number);
const JUMP_EVERY_MS = 10_000;

const wallNow = Date.now.bind(Date);
const monotonicNow = performance.now.bind(performance);
const beginMs = monotonicNow();

Date.now = () => {
  const elapsedMs = monotonicNow() - beginMs;
  const jumped = Math.floor(elapsedMs / JUMP_EVERY_MS) % 2 === 1;
  return Math.floor(wallNow() + offsetMs + elapsedMs * (rate - 1) + (jumped ? jumpMs : 0));
};
performance.now = () => beginMs + (monotonicNow() - beginMs) * rate;
