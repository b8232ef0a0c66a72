// What a refused change leaves behind: a server may say no and do it all the same, which nobody sees who believes the answer.
import { isDeepStrictEqual } from "node:util";
import { ConnectError } from "@connectrpc/connect";
import { reasonName, reasonOf } from "../../reference/communications/refusal.ts";
import { expect } from "../procedures/procedure.ts";

/** Reads what a change would show in, as somebody who may. That there is nothing to read is a state as well. */
export type StateReader = () => Promise<unknown>;

/** Passes where `work`, in which changes are refused, leaves what is read as it was. */
export async function leavingUnchanged(what: string, read: StateReader, work: () => Promise<unknown>): Promise<void> {
  const before = await stateOf(read);
  await work();
  const after = await stateOf(read);
  const actual = typeof after === "string" ? after : "it has changed";
  expect(isDeepStrictEqual(before, after), `${what} as it was before the refusal`, actual);
}

async function stateOf(read: StateReader): Promise<unknown> {
  try {
    return await read();
  } catch (cause) {
    if (!(cause instanceof ConnectError) || reasonOf(cause) === 0) throw cause;
    return `it is answered with ${reasonName(reasonOf(cause))}`;
  }
}
