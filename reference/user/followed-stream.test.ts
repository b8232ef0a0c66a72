import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { follow } from "./followed-stream.ts";
import type { StateDirectory } from "./state-directory.ts";
import { failureOf, impatient, userFixture } from "./user.fixture.ts";

const fixture = userFixture();
afterAll(() => fixture.remove());
const user = fixture.user("subscriber", {});

interface News {
  readonly position: bigint;
  readonly text?: string;
}
type Opening = { readonly after: bigint; readonly session: unknown };

/** A management that plays one script for each time that the stream is opened. */
function scripted(state: StateDirectory, scripts: readonly (readonly (News | Error)[])[]) {
  const openings: Opening[] = [];
  const stop = new AbortController();
  const stream = follow<News, string>({
    user,
    state,
    name: "news.json",
    patience: impatient,
    signal: stop.signal,
    open: async function* (after, options) {
      openings.push({ after, session: new Headers(options.headers).get("x1410-session") });
      const script = scripts[openings.length - 1];
      if (script === undefined) return stop.abort();
      for (const item of script) {
        if (item instanceof Error) throw item;
        yield item;
      }
    },
    content: ({ text }) => text,
  });
  return { stream, openings };
}

async function all(stream: AsyncIterable<string>): Promise<string[]> {
  const texts: string[] = [];
  for await (const text of stream) texts.push(text);
  return texts;
}

const broken = new ConnectError("the connection broke", Code.Unavailable);

test("a broken stream goes on after what was handed over, and so does a later run", async () => {
  const state = fixture.state();
  const first = scripted(state, [
    [{ position: 0n }, { position: 1n, text: "one" }, { position: 2n, text: "two" }, broken],
    [{ position: 3n, text: "three" }],
  ]);
  expect(await all(first.stream)).toEqual(["one", "two", "three"]);
  expect(first.openings.map(({ after }) => after)).toEqual([0n, 2n, 3n]);
  const second = scripted(state, [[{ position: 4n, text: "four" }]]);
  expect(await all(second.stream)).toEqual(["four"]);
  expect(second.openings[0]?.after).toBe(3n);
});

test("what was not dealt with comes again", async () => {
  const state = fixture.state();
  const script = [{ position: 1n, text: "one" }];
  for await (const text of scripted(state, [script]).stream) if (text === "one") break;
  expect(await all(scripted(state, [script]).stream)).toEqual(["one"]);
});

test("where the position is no longer kept it begins with the snapshot", async () => {
  const state = fixture.state();
  state.write("news.json", { position: "7" });
  const { stream, openings } = scripted(state, [
    [refusal(ErrorReason.POSITION_EXPIRED)],
    [{ position: 9n, text: "nine" }],
  ]);
  expect(await all(stream)).toEqual(["nine"]);
  expect(openings.map(({ after }) => after)).toEqual([7n, 0n, 9n]);
});

test("an ended session is renewed", async () => {
  const { stream, openings } = scripted(fixture.state(), [
    [{ position: 1n, text: "one" }, refusal(ErrorReason.SESSION_INVALID)],
    [{ position: 2n, text: "two" }],
  ]);
  expect(await all(stream)).toEqual(["one", "two"]);
  expect(openings[0]?.session).not.toBe(openings[1]?.session);
});

test.each([
  ["a refusal for good ends it", [refusal(ErrorReason.RIGHT_MISSING)], ErrorReason.RIGHT_MISSING, 1],
  ["a session that cannot be renewed ends it", [refusal(ErrorReason.SESSION_INVALID)], ErrorReason.SESSION_INVALID, 2],
  ["a management that stays away ends it", [broken], ErrorReason.UNSPECIFIED, 3],
])("%s", async (_, script, reason, opened) => {
  const { stream, openings } = scripted(fixture.state(), [script, script, script, script]);
  expect(reasonOf(await failureOf(all(stream)))).toBe(reason);
  expect(openings).toHaveLength(opened);
});
