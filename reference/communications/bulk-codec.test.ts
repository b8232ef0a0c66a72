import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { GetPackageResponseSchema } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { bulkCodec } from "./bulk-codec.ts";

const codec = bulkCodec(GetPackageResponseSchema);
const chunk = (length: number) => ({ part: { case: "data", value: new Uint8Array(length).fill(7) } }) as const;
const description = { part: { case: "description", value: { size: 12n } } } as const;

test.each([0, 1, 127, 128, 1024 * 1024])("a chunk of %i bytes reads and writes as by the generic codec", (length) => {
  const message = create(GetPackageResponseSchema, chunk(length));
  const bytes = toBinary(GetPackageResponseSchema, message);
  expect(codec.encode(chunk(length)).equals(bytes)).toBe(true);
  expect(codec.encode(message).equals(bytes)).toBe(true);
  expect(codec.decode(bytes)).toEqual(fromBinary(GetPackageResponseSchema, bytes));
});

test("another part, an empty message and doubled fields go the generic way", () => {
  const described = toBinary(GetPackageResponseSchema, create(GetPackageResponseSchema, description));
  expect(codec.encode(description).equals(described)).toBe(true);
  expect(codec.decode(described)).toEqual(fromBinary(GetPackageResponseSchema, described));
  expect(codec.encode({}).length).toBe(0);
  expect(codec.decode(new Uint8Array())).toEqual(create(GetPackageResponseSchema));
  const twice = Buffer.concat([codec.encode(chunk(3)), codec.encode(chunk(2))]);
  expect(codec.decode(twice)).toEqual(create(GetPackageResponseSchema, chunk(2)));
});

test("a length beyond the bytes at hand is refused", () => {
  expect(() => codec.decode(Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1))).toThrow();
  expect(() => codec.decode(Uint8Array.of(0x12, 5, 1))).toThrow();
});
