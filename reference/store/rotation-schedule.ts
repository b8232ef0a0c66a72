// Keys that an entity replaces after some time. When that was last done is kept with the keys, so that a restart neither puts the next time
// off nor brings it on.

const CHECK_MS = 60 * 60_000;

/** How often to look whether it is time: `setInterval` takes no longer waits than 24 days. */
export function rotationCheckMs(intervalMs: number): number {
  return Math.min(intervalMs, CHECK_MS);
}

/** @param rotatedAt milliseconds since 1970; undefined where a former version has not recorded it, and then it is time */
export function rotationDue(rotatedAt: number | undefined, intervalMs: number, at: Date): boolean {
  if (rotatedAt === undefined) return true;
  const age = at.getTime() - rotatedAt;
  // A clock that is behind the last rotation was wrong then or is now: one rotation too many harms nothing, none for years would.
  return age < 0 || age >= intervalMs;
}
