import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { contractAddress, keyAddress, packageAddress, parseContractAddress, parseStorageAddress } from "./address.ts";
import { reasonOf } from "./refusal.ts";

const id = "00112233445566778899aabbccddeeff";

function refused(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    expect(ConnectError.from(error).code).toBe(Code.InvalidArgument);
    expect(reasonOf(error)).toBe(ErrorReason.REQUEST_INVALID);
    return;
  }
  expect.unreachable("it should be refused");
}

test("addresses name entity and object, and lead back to them", () => {
  const key = keyAddress("urn:x1410:entity:kss:kss-1.example", id);
  expect(key).toBe(`x1410://kss.kss-1.example/keys/${id}`);
  expect(parseStorageAddress(key)).toEqual({ entity: "urn:x1410:entity:kss:kss-1.example", id });
  const stored = packageAddress("urn:x1410:entity:dss:a", id);
  expect(stored).toBe(`x1410://dss.a/packages/${id}`);
  expect(parseStorageAddress(stored)).toEqual({ entity: "urn:x1410:entity:dss:a", id });
  const contract = contractAddress("net.1", id);
  expect(contract).toBe(`x1410://dlt.net.1/contracts/${id}`);
  expect(parseContractAddress(contract)).toEqual({ networkId: "net.1", contractId: id });
});

test.each([
  ["other kind of object", `x1410://kss.a/packages/${id}`],
  ["path tricks", "x1410://kss.a/keys/../../x"],
  ["encoded slash", `x1410://kss.a%2fb/keys/${id}`],
  ["NUL", `x1410://kss.a/keys/${id}\0`],
  ["line feed at the end", `x1410://kss.a/keys/${id}\n`],
  ["host and port", `x1410://kss.a:443/keys/${id}`],
  ["upper case", `x1410://kss.A/keys/${id}`],
  ["short id", "x1410://kss.a/keys/00"],
  ["empty", ""],
])("a storage address is refused: %s", (_, address) => refused(() => parseStorageAddress(address)));

test("what is no address is never made into one", () => {
  refused(() => keyAddress("urn:x1410:entity:dss:a", id));
  refused(() => keyAddress("urn:x1410:entity:kss:a", "../x"));
  refused(() => packageAddress("urn:x1410:user:a", id));
  refused(() => contractAddress("A", id));
  refused(() => contractAddress("a", "0"));
  refused(() => parseContractAddress(`x1410://dlt.a/contracts/${id}/`));
});
