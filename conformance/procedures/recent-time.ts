// Times that an implementation states of what has just happened: a field that is there and holds another time proves nothing.
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect } from "./procedure.ts";

/** What two clocks may be apart. */
const SKEW_MS = 60_000;

/** Passes where the time lies between the beginning, in milliseconds since 1970, and now. */
export function expectRecent(time: Timestamp | undefined, what: string, beganMs: number): void {
  const ms = time === undefined ? Number.NaN : timestampMs(time);
  const actual = time === undefined ? "none" : String(new Date(ms));
  expect(ms >= beganMs - SKEW_MS && ms <= Date.now() + SKEW_MS, `${what}: a time since the request was made`, actual);
}
