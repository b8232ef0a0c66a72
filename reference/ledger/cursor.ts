// Places in the total order of transactions, as the signed-block ledger names them to readers: "HEIGHT.INDEX".
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { Cursor } from "./engine.ts";
import type { TransactionPlace } from "./ledger-state.ts";

const CURSOR = /^([1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,9})$/;

export function cursorOf({ height, index }: TransactionPlace): Cursor {
  return `${height}.${index}`;
}

/** The place that follows a cursor; none, or the empty one of an empty ledger, stands before everything. @throws ConnectError REQUEST_INVALID */
export function cursorAfter(cursor: Cursor | undefined): TransactionPlace {
  if (cursor === undefined || cursor === "") return { height: 1n, index: 0 };
  const [, height, index] = CURSOR.exec(cursor) ?? [];
  if (height === undefined || index === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "cursor");
  return { height: BigInt(height), index: Number(index) + 1 };
}
