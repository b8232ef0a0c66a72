// Faulty data storage servers (clause 6.2.4).
import { createHash, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { DataDistributionService, GetPackageResponseSchema } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { type Mutant, streaming, unary } from "./mutant.ts";

const { registerPackage } = DataStorageService.method;
const { getPackage } = DataDistributionService.method;

export const dataStorageServerMutants: readonly Mutant[] = [
  {
    id: "dss-registers-again",
    clause: "7.3.1",
    breaks: "the same request id gets another package id",
    foundBy: ["TP/DSS/DSM/BV-02"],
    alterations: [
      unary(
        registerPackage,
        (original) => (request, context) => original({ ...request, requestId: randomBytes(16) }, context),
      ),
    ],
  },
  {
    id: "dss-address-of-another",
    clause: "7.2.1",
    breaks: "the address to get the package from names another server",
    foundBy: ["TP/DSS/DSM/BV-01"],
    alterations: [
      unary(registerPackage, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, packageAddress: answer.packageAddress.replace("dss.", "dss.other-") };
      }),
    ],
  },
  {
    id: "dss-does-not-describe",
    clause: "6.2.4",
    breaks: "the package comes without a description of its size and SHA-256",
    foundBy: ["TP/DSS/DD/BV-01"],
    alterations: [
      streaming(
        getPackage,
        (original) =>
          async function* (request, context) {
            for await (const response of original(request, context)) if (response.part.case === "data") yield response;
          },
      ),
    ],
  },
  {
    id: "dss-truncates",
    clause: "6.2.4",
    breaks: "the last bytes of the package are missing",
    foundBy: ["TP/DSS/DD/BV-01"],
    alterations: [
      streaming(
        getPackage,
        (original) =>
          async function* (request, context) {
            for await (const response of original(request, context))
              yield response.part.case === "data" ? dataOf(response.part.value.subarray(0, -1)) : response;
          },
      ),
    ],
  },
  {
    id: "dss-substitutes",
    clause: "7.2.2",
    breaks: "another package is sent, with a description that fits it; only the provider's signature can tell (X5)",
    foundBy: ["TP/DSS/DD/BV-01"],
    alterations: [
      streaming(
        getPackage,
        (original) =>
          async function* (request, context) {
            const parts: Uint8Array[] = [];
            for await (const { part } of original(request, context)) if (part.case === "data") parts.push(part.value);
            const bytes = Buffer.concat(parts);
            const last = bytes.length - 1;
            bytes[last] = (bytes[last] ?? 0) ^ 1;
            const sha256 = createHash("sha256").update(bytes).digest();
            const value = { size: BigInt(bytes.length), sha256, offset: 0n };
            yield create(GetPackageResponseSchema, { part: { case: "description", value } });
            yield dataOf(bytes);
          },
      ),
    ],
  },
];

function dataOf(value: Uint8Array) {
  return create(GetPackageResponseSchema, { part: { case: "data", value } });
}
