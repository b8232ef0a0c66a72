// Faulty data providers (clauses 6.2.1 and 7.2.1).
import type { ClientMutant } from "./client-mutant.ts";
import { faultyUsers } from "./faulty-users.ts";

const role = "dp";
const provider = "reference/data-provider/provider.ts";
const wrapping = "reference/data-provider/wrapping.ts";
const offer = "reference/data-provider/offer.ts";

export const dataProviderMutants: readonly ClientMutant[] = [
  ...faultyUsers(role),
  {
    id: "dp-sends-plaintext",
    clause: "7.2.1",
    breaks: "data are stored as they were read, with digests that fit (P3)",
    role,
    foundBy: ["TP/DP/DP/BV-03"],
    edits: [
      {
        file: wrapping,
        find: 'encrypt(plaintext, { key, context: Buffer.from(keyId, "ascii") });',
        instead: `plainly(plaintext, encrypt(none(), { key, context: Buffer.from(keyId, "ascii") }));`,
      },
      {
        file: wrapping,
        find: "/** Of a length-delimited field. */",
        instead: `async function* none() { yield new Uint8Array(1); }
function plainly(plaintext, { output: other, summary: others }) {
  const hash = createHash("sha256");
  let size = 0;
  let done;
  const summary = new Promise((resolve) => { done = resolve; });
  return { summary, output: (async function* () {
    for await (const _ of other);
    for await (const bytes of plaintext) { hash.update(bytes); size += bytes.length; yield bytes; }
    done({ ...(await others), ciphertextSha256: new Uint8Array(hash.digest()), ciphertextBytes: size });
  })() };
}`,
      },
    ],
  },
  {
    id: "dp-reuses-its-key",
    clause: "7.2.1",
    breaks: "every publication is encrypted under the same key (W1)",
    role,
    foundBy: ["TP/DP/DP/BV-04"],
    edits: [
      {
        file: provider,
        find: "const key = randomBytes(32);",
        instead: 'const key = Buffer.from("0123456789abcdef0123456789abcdef");',
      },
    ],
  },
  {
    id: "dp-publishes-its-key",
    clause: "7.2.1",
    breaks: "the key stands in the policy that it is to protect (W7)",
    role,
    foundBy: ["TP/DP/DP/BV-05"],
    edits: [
      {
        file: provider,
        find: "          ...offer.policy,\n",
        instead: '          ...offer.policy,\n          terms: key.toString("base64"),\n',
      },
    ],
  },
  {
    id: "dp-encrypts-without-context",
    clause: "7.2.1",
    breaks: "the ciphertext is not bound to the key's id, and others cannot decrypt it (P3)",
    role,
    foundBy: ["TP/DP/DP/BV-03", "TP/DP/DP/BV-06"],
    edits: [
      {
        file: wrapping,
        find: 'context: Buffer.from(keyId, "ascii")',
        instead: 'context: Buffer.from(keyId.slice(1), "ascii")',
      },
    ],
  },
  {
    id: "dp-signs-other-terms",
    clause: "7.2.1",
    breaks: "data that are to be read-only are shared for export (W4)",
    role,
    foundBy: ["TP/DP/DP/BV-01"],
    edits: [{ file: offer, find: "readOnly: permission.readOnly,", instead: "readOnly: false," }],
  },
  {
    id: "dp-grants-another-number-of-accesses",
    clause: "7.2.1",
    breaks: "the access times in the permission are not those asked for (W4)",
    role,
    foundBy: ["TP/DP/DP/BV-01"],
    edits: [
      {
        file: offer,
        find: "accessTimes: permission.accessTimes,",
        instead: "accessTimes: permission.accessTimes + 1,",
      },
    ],
  },
  {
    id: "dp-describes-another-ciphertext",
    clause: "7.2.1",
    breaks: "the metadata state the size of the ciphertext and another digest (W5)",
    role,
    foundBy: ["TP/DP/DP/BV-02"],
    edits: [
      {
        file: provider,
        find: "packageHead(signMetadata(signer, metadata), Number(encryptedData.size));",
        instead:
          "packageHead(signMetadata(signer, { ...metadata, encryptedData: { ...encryptedData, sha256: encryptedData.sha256.map((byte) => byte ^ 1) } }), Number(encryptedData.size));",
      },
    ],
  },
  {
    id: "dp-names-another-package",
    clause: "7.2.1",
    breaks: "the metadata name the key's id where the package's belongs (W5)",
    role,
    foundBy: ["TP/DP/DP/BV-02"],
    edits: [
      {
        file: provider,
        find: "const metadata = { packageId: stored.id,",
        instead: "const metadata = { packageId: registeredKey.id,",
      },
    ],
  },
  {
    id: "dp-wraps-nothing",
    clause: "7.2.1",
    breaks: "the bare ciphertext is stored where a package belongs (W6)",
    role,
    foundBy: ["TP/DP/DP/BV-02"],
    edits: [
      {
        file: provider,
        find: "        permission === undefined\n          ? new Uint8Array()",
        instead: "        permission !== null\n          ? new Uint8Array()",
      },
    ],
  },
  {
    id: "dp-registers-again",
    clause: "7.2.1",
    breaks: "each attempt to register has a request id of its own (W2)",
    role,
    foundBy: ["TP/DP/DP/BV-08"],
    edits: [
      {
        file: provider,
        find: "client.registerKey(request));",
        instead: "client.registerKey({ ...request, requestId: randomBytes(16) }));",
      },
    ],
  },
  {
    id: "dp-signs-again",
    clause: "7.3.1",
    breaks: "each attempt to submit has a signature over other bytes (P8)",
    role,
    foundBy: ["TP/DP/DP/BV-07"],
    edits: [
      {
        file: provider,
        find: "await repeat(this.#patience, () => this.#user.inSession((options) => client.submitPolicy({ submission }, options)));",
        instead: `let attempts = 0;
    await repeat(this.#patience, () => this.#user.inSession((options) => {
      const message = fromBinary(PolicySubmissionSchema, submission.payload);
      message.context = newContext(this.#user, this.#user.managementIdentity, this.#now());
      const again = signMessage(this.#user.signer, PolicySubmissionSchema, message);
      return client.submitPolicy({ submission: attempts++ === 0 ? submission : again }, options);
    }));`,
      },
    ],
  },
  {
    id: "dp-repeats-its-nonce",
    clause: "6.2.1",
    breaks: "the nonce in signed requests is the same each time (P7)",
    role,
    foundBy: ["TP/DP/DP/BV-01"],
    edits: [
      {
        file: "reference/envelope/sign.ts",
        find: "nonce: new Uint8Array(randomBytes(16)),",
        instead: "nonce: new Uint8Array(16).fill(randomBytes(1).length),",
      },
    ],
  },
  {
    id: "dp-believes-any-confirmation",
    clause: "7.2.1",
    breaks: "what the data storage server says it has stored is not compared with what was sent (P4)",
    role,
    foundBy: ["TP/DP/DP/BI-01"],
    edits: [
      {
        file: "reference/data-provider/package-upload.ts",
        find: "if (stored.size !== BigInt(object.size) || Buffer.compare(stored.sha256, object.sha256) !== 0)",
        instead: "if (stored.size < 0n)",
      },
    ],
  },
  {
    id: "dp-needs-no-ledger",
    clause: "6",
    breaks: "the contract is believed without its proof (S4)",
    role,
    foundBy: ["TP/DP/DP/BI-02", "TP/DP/DP/BI-03"],
    edits: [
      {
        file: provider,
        find: "    checkRecordedPolicy(policy, signedSubmission(journal), this.#user);\n",
        instead: "",
      },
    ],
  },
  {
    id: "dp-hands-on-any-address",
    clause: "7.3.1",
    breaks: "the contract's address is not compared with the ledger's own (P9)",
    role,
    foundBy: ["TP/DP/DP/BI-04"],
    edits: [
      {
        file: "reference/data-provider/recorded-policy.ts",
        find: "if (address !== contractAddress(user.network.networkId, policyId))",
        instead: 'if (address === "" && contractAddress(user.network.networkId, policyId) === "")',
      },
    ],
  },
  {
    id: "dp-opens-no-commitment",
    clause: "6",
    breaks: "that an opening opens its commitment is not checked (S4)",
    role,
    foundBy: ["TP/DP/DP/BI-05"],
    edits: [
      {
        file: "reference/user/evidence.ts",
        find: "|| !checkOpening(commitment, opening))",
        instead: "|| !checkOpening)",
      },
      {
        file: "reference/data-provider/recorded-policy.ts",
        find: "|| Buffer.compare(committed, signed.payload) !== 0)",
        instead: "|| signed.payload.length === 0)",
      },
    ],
  },
  {
    id: "dp-takes-refusal-for-success",
    clause: "7.3.1",
    breaks: "data are reported as shared although the management has refused the confirmation (P9)",
    role,
    foundBy: ["TP/DP/DP/BO-03"],
    edits: [
      {
        file: provider,
        find: "this.#user.inSession((options) => client.confirmStorage({ policyId }, options)),",
        instead: `this.#user
        .inSession((options) => client.confirmStorage({ policyId }, options))
        .catch(() => ({ policy: { contractAddress: "none" } })),`,
      },
      {
        file: provider,
        find: "    checkRecordedPolicy(policy, signedSubmission(journal), this.#user);\n",
        instead: "",
      },
    ],
  },
  {
    id: "dp-stores-no-key",
    clause: "7.3.1",
    breaks: "the key is never stored (F3.7.2)",
    role,
    foundBy: ["TP/DP/F3/BV-01"],
    edits: [
      {
        file: provider,
        find: "await repeat(this.#patience, () => client.storeKey({ keyId, key }));",
        instead: "void [client, keyId];",
      },
    ],
  },
  {
    id: "dp-shares-raw-records",
    clause: "6.2.1",
    breaks: "the rules of desensitization are read and not applied (P1)",
    role,
    foundBy: ["TP/DP/F3/BV-02"],
    edits: [
      {
        file: "reference/data-provider/collection.ts",
        find: "const collected = await spool(output, state,",
        instead: "for await (const _ of output);\n    const collected = await spool(bytesOf(file), state,",
      },
    ],
  },
  {
    id: "dp-forgets-the-version",
    clause: "6.2.1",
    breaks: "an update does not count the policy's version up (P10)",
    role,
    foundBy: ["TP/DP/DP/BV-09"],
    edits: [
      {
        file: "reference/data-provider/policies.ts",
        find: "version: policy.version + 1n",
        instead: "version: policy.version",
      },
    ],
  },
];
