// Faulty data consumers (clauses 6.2.1 and 7.2.2).
import type { ClientMutant } from "./client-mutant.ts";
import { faultyUsers } from "./faulty-users.ts";

const role = "dc";
const consumer = "reference/data-consumer/consumer.ts";
const grant = "reference/data-consumer/grant.ts";
const validation = "reference/data-consumer/package-validation.ts";
const unwrapping = "reference/data-consumer/unwrapping.ts";

export const dataConsumerMutants: readonly ClientMutant[] = [
  ...faultyUsers(role),
  {
    id: "dc-validates-no-package-signature",
    clause: "7.2.2",
    breaks: "the signature over a package's metadata is not verified (X5)",
    role,
    foundBy: ["TP/DC/DC/BI-03", "TP/DC/DC/BI-05"],
    edits: [
      {
        file: validation,
        find: "return verifyEnvelope(envelope, PackageMetadataSchema, trust);",
        instead: `const message = fromBinary(PackageMetadataSchema, envelope.payload);
          const named = { identity: message.providerIdentity, publicKey: message.providerPublicKey ?? { spki: new Uint8Array() } };
          return trust === undefined ? verifyEnvelope(envelope, PackageMetadataSchema, trust) : { message, signer: named };`,
      },
    ],
  },
  {
    id: "dc-takes-a-package-of-anybody",
    clause: "7.2.2",
    breaks: "a package is taken whoever has signed it (X5)",
    role,
    foundBy: ["TP/DC/DC/BI-04"],
    edits: [{ file: validation, find: "if (!isProvider) throw", instead: "if (isProvider === undefined) throw" }],
  },
  {
    id: "dc-takes-another-package",
    clause: "7.2.2",
    breaks: "a package of the same provider is taken for the one that the contract names (X5)",
    role,
    foundBy: ["TP/DC/DC/BI-02"],
    edits: [
      {
        file: validation,
        find: "if (packageId !== expected.packageId) throw",
        instead: "if (packageId === undefined) throw",
      },
    ],
  },
  {
    id: "dc-compares-no-digest",
    clause: "7.2.2",
    breaks: "the ciphertext is not compared with the digest that the provider signed (X5)",
    role,
    foundBy: ["TP/DC/DC/BI-09"],
    edits: [
      {
        file: validation,
        find: "if (!hash.digest().equals(encryptedData.sha256))",
        instead: "if (hash.digest().length === 0)",
      },
      {
        file: validation,
        find: "if (!commitment.equals(encryptedData.commitment))",
        instead: "if (commitment.length === 0)",
      },
      { file: unwrapping, find: "commitment: encryptedData.commitment,", instead: "" },
    ],
  },
  {
    id: "dc-uses-an-altered-permission",
    clause: "7.2.2",
    breaks: "the signature of the requested permission is not verified (X2)",
    role,
    foundBy: ["TP/DC/DC/BI-10"],
    edits: [
      {
        file: grant,
        find: "const { message, signer } = verifyEnvelope(envelope, RequestedPermissionSchema, user.trust);",
        instead: `const message = fromBinary(RequestedPermissionSchema, envelope.payload);
          const signer = { identity: user.managementIdentity, by: verifyEnvelope };`,
      },
    ],
  },
  {
    id: "dc-takes-a-permission-of-any-entity",
    clause: "7.2.2",
    breaks: "the requested permission may be signed by any entity of the network (X2)",
    role,
    foundBy: ["TP/DC/DC/BI-11"],
    edits: [{ file: grant, find: "signer.identity === user.managementIdentity &&\n    message", instead: "message" }],
  },
  {
    id: "dc-uses-the-permission-of-another-access",
    clause: "7.2.2",
    breaks: "the requested permission is not compared with the access that it came with (X2)",
    role,
    foundBy: ["TP/DC/DC/BI-12"],
    edits: [{ file: grant, find: "message.accessId === record.accessId &&\n", instead: "" }],
  },
  {
    id: "dc-uses-the-permission-of-another-consumer",
    clause: "7.2.2",
    breaks: "a requested permission that is addressed to another user is used (X2)",
    role,
    foundBy: ["TP/DC/DC/BI-13"],
    edits: [{ file: grant, find: "message.context?.audience === user.identity &&", instead: "" }],
  },
  {
    id: "dc-ignores-the-expiration",
    clause: "7.2.2",
    breaks: "data are shown after the permission has expired (X7)",
    role,
    foundBy: ["TP/DC/DC/BI-14"],
    edits: [
      {
        file: unwrapping,
        find: "if (permission !== undefined && now().getTime() >= permission.expiration.getTime())",
        instead: "if (permission !== undefined && now().getTime() < 0)",
      },
    ],
  },
  {
    id: "dc-exports-read-only-data",
    clause: "7.2.2",
    breaks: "read-only data are written to a file (X7)",
    role,
    foundBy: ["TP/DC/DC/BI-15", "TP/DC/DC/BV-05"],
    edits: [
      { file: unwrapping, find: 'if (this.readOnly) await this.#refuse("read_only");', instead: "" },
      {
        file: "reference/data-consumer/cli.ts",
        find: "if (out !== undefined && (await own.lookUp(address)).signed.accessPermission?.readOnly)",
        instead: "if (out !== undefined && out.length === 0)",
      },
    ],
  },
  {
    id: "dc-takes-the-provider's-word-for-the-permission",
    clause: "7.2.3",
    breaks: "what the management narrows is ignored: the permission is that which the provider published (X7)",
    role,
    foundBy: ["TP/DC/DC/BI-15"],
    edits: [
      { file: grant, find: "readOnly: message.readOnly || granted.readOnly", instead: "readOnly: granted.readOnly" },
    ],
  },
  {
    id: "dc-does-without-a-permission",
    clause: "7.2.2",
    breaks: "a grant without its requested permission is used as if there were none to have (X2)",
    role,
    foundBy: ["TP/DC/DC/BI-16"],
    edits: [
      {
        file: grant,
        find: 'if (envelope === undefined) throw new GrantError("the management gave no requested permission");',
        instead:
          "if (envelope === undefined) return { expiration: new Date(Date.now() + 60_000), readOnly: granted.readOnly };",
      },
    ],
  },
  {
    id: "dc-uses-the-grant-of-another",
    clause: "7.3.2",
    breaks: "consumer, contract and package in the answer are not compared with the request (C5)",
    role,
    foundBy: ["TP/DC/DC/BI-17"],
    edits: [
      { file: grant, find: "if (!same)\n", instead: "if (same === undefined)\n" },
      { file: grant, find: "if (!holds) throw", instead: "if (holds === undefined) throw" },
      { file: grant, find: "checkAccessEvidence(grant, record, user, asked.request);", instead: "" },
    ],
  },
  {
    id: "dc-goes-where-the-management-says",
    clause: "7.3.2",
    breaks: "the token is taken to the address in the grant, whatever the provider has signed (C6)",
    role,
    foundBy: ["TP/DC/DC/BI-18"],
    edits: [
      { file: grant, find: "if (!placed) throw", instead: "if (placed === undefined) throw" },
      {
        file: grant,
        find: "    information,\n    permission:",
        instead: "    information: { ...information, keyAddress: key.keyAddress },\n    permission:",
      },
    ],
  },
  {
    id: "dc-believes-the-publication",
    clause: "6.2.1",
    breaks: "addresses are taken from the published information, which nobody signed (C3)",
    role,
    foundBy: ["TP/DC/DC/BI-19"],
    edits: [
      {
        file: grant,
        find: "if (!equals(DataSharingInformationSchema, information, signed.information))",
        instead: "if (!equals(DataSharingInformationSchema, information, information))",
      },
      { file: grant, find: "  return signed;\n", instead: "  return { ...signed, information };\n" },
      { file: grant, find: "if (!placed) throw", instead: "if (placed === undefined) throw" },
    ],
  },
  {
    id: "dc-needs-no-proof",
    clause: "6",
    breaks: "an access whose proof is missing is used all the same (S4)",
    role,
    foundBy: ["TP/DC/DC/BI-20"],
    edits: [
      {
        file: grant,
        find: "checkAccessEvidence(grant, record, user, asked.request);",
        instead: "if (grant.proof !== undefined) checkAccessEvidence(grant, record, user, asked.request);",
      },
    ],
  },
  {
    id: "dc-reports-no-usage",
    clause: "7.2.4",
    breaks: "the management is never told how data were used (UR2)",
    role,
    foundBy: ["TP/DC/DC/BV-04"],
    edits: [
      {
        file: "reference/data-consumer/usage-reports.ts",
        find: "const occurredAt = this.#now().getTime();",
        instead: "const occurredAt = this.#now().getTime();\n    if (occurredAt > 0) return;",
      },
    ],
  },
  {
    id: "dc-redeems-under-a-new-request-id",
    clause: "7.3.2",
    breaks: "each attempt to get the key has a request id of its own, so that a lost answer costs the access (C6)",
    role,
    foundBy: ["TP/DC/DC/BV-03"],
    edits: [
      {
        file: consumer,
        find: "client.getKey({ accessToken, keyId: information.keyId, requestId }),",
        instead:
          "client.getKey({ accessToken, keyId: information.keyId, requestId: crypto.getRandomValues(new Uint8Array(requestId.length)) }),",
      },
    ],
  },
  {
    id: "dc-shows-its-token-to-all",
    clause: "7.3.2",
    breaks: "the token goes to others than the key storage server (C6)",
    role,
    foundBy: ["TP/DC/DC/BV-02"],
    edits: [
      {
        file: consumer,
        find: "client: this.#user.client(DataDistributionService, parseStorageAddress(packageAddress).entity),",
        instead: `client: {
        getPackage: (request, options) =>
          this.#user.client(DataDistributionService, parseStorageAddress(packageAddress).entity)
            .getPackage(request, { ...options, headers: { authorization: \`Bearer \${grant.accessToken}\` } }),
      },`,
      },
    ],
  },
  {
    id: "dc-keeps-the-key",
    clause: "7.2.2",
    breaks: "the key stays with the consumer after the access (X8)",
    role,
    foundBy: ["TP/DC/DC/BV-06", "TP/DC/DC/BV-07"],
    edits: [
      {
        file: consumer,
        find: "    const key = await this.#fetchKey(grant, journal.keyRequestId);\n",
        instead:
          '    const key = await this.#fetchKey(grant, journal.keyRequestId);\n    this.#state.write("key.json", Buffer.from(key).toString("base64"));',
      },
    ],
  },
  {
    id: "dc-keeps-the-plaintext",
    clause: "7.2.2",
    breaks: "what was shown stays in a file beside the package (X8, S5)",
    role,
    foundBy: ["TP/DC/DC/BV-06"],
    edits: [
      {
        file: unwrapping,
        find: "    await this.#decrypt(sink);\n",
        instead: `    const kept = await open(\`\${this.#given.valid.path}.plain\`, "w");
    await this.#decrypt(async (bytes) => {
      await writeWhole(kept, bytes);
      await sink(bytes);
    });
    await kept.close();
`,
      },
    ],
  },
  {
    id: "dc-repeats-its-request",
    clause: "7.3.2",
    breaks: "the nonce in signed requests is the same each time (C4)",
    role,
    foundBy: ["TP/DC/DC/BV-01"],
    edits: [
      {
        file: "reference/envelope/sign.ts",
        find: "nonce: new Uint8Array(randomBytes(16)),",
        instead: "nonce: new Uint8Array(16).fill(randomBytes(1).length),",
      },
    ],
  },
  {
    id: "dc-fetches-before-it-may",
    clause: "7.3.2",
    breaks: "the package is asked for before the management has granted the access",
    role,
    foundBy: ["TP/DC/DC/BO-01", "TP/DC/F4/BV-01"],
    edits: [
      {
        file: consumer,
        find: "    const grant = await this.#requestAccess(contractAddress, information, journal.request);\n",
        instead: `    const early = this.#user.client(DataDistributionService, parseStorageAddress(information.packageAddress).entity);
    for await (const _ of early.getPackage({ packageId: information.packageId })) break;
    const grant = await this.#requestAccess(contractAddress, information, journal.request);
`,
      },
    ],
  },
  {
    id: "dc-lists-nothing",
    clause: "6.2.1",
    breaks: "access records are not asked of the management (C9)",
    role,
    foundBy: ["TP/DC/DC/BV-10"],
    edits: [
      {
        file: consumer,
        find: "      yield* page.records;\n",
        instead: "      yield* page.records.slice(page.records.length);\n",
      },
    ],
  },
];
