import { ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { refusal } from "../reference/communications/refusal.ts";
import { ListenError } from "../reference/communications/tls-listener.ts";
import { failureLine } from "./failure.ts";

test("a refusal says its reason and how to recover", () => {
  expect(failureLine(refusal(ErrorReason.RIGHT_MISSING))).toBe(
    "RIGHT_MISSING: The account lacks the right that the method needs: publish or access. Ask the operator to grant it.",
  );
});

test("an error of a gRPC library says its text alone", () => {
  expect(failureLine(new ConnectError("no connection"))).toBe("no connection");
});

test("whatever was thrown becomes one line", () => {
  expect(failureLine(new Error("first\n  second"))).toBe("first second");
  expect(failureLine(new TypeError())).toBe("TypeError");
  expect(failureLine("text")).toBe("text");
});

test("an error that says it all is not followed by its cause", () => {
  const error = new ListenError("the port is taken: choose another", { cause: new Error("listen EADDRINUSE") });
  expect(failureLine(error)).toBe("the port is taken: choose another");
});

test("the telling cause is told", () => {
  expect(failureLine(new Error("cannot open", { cause: new Error("LOCK: held") }))).toBe("cannot open: LOCK: held");
  expect(failureLine(new AggregateError([new Error("a"), new Error("b")]))).toBe("a; b");
});
