// A data consumer under test: grants of the management that it must not use (clauses 7.2.2 and 7.3.2; C5, X2, X7).
import { clone } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type PublishedInformation, PublishedInformationSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { keyAddress } from "../../reference/communications/address.ts";
import { expectRefused, type Outcome } from "../clients/client-under-test.ts";
import {
  access,
  byTheKit,
  type ConsumerScene,
  consumerScene,
  consumerTwin,
  expectPlaintext,
} from "../clients/consumer-scene.ts";
import { grantAltered, otherKeyStorage, permissionAltered, signedOffLedger } from "../clients/wrong-answers.ts";
import { type Alteration, unary } from "../mutants/mutant.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect } from "../procedures/procedure.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

const { getKey } = KeyStorageService.method;

interface WrongGrant {
  readonly id: PurposeId;
  readonly title: string;
  readonly what: string;
  readonly clause?: string;
  readonly capabilities: readonly string[];
  readonly requires?: readonly string[];
  readonly likelyMistake: string;
  readonly prepare: (t: TestCase, scene: ConsumerScene) => Promise<void> | void;
  /** Beyond that there is no plaintext. */
  readonly further?: (outcome: Outcome, scene: ConsumerScene) => void;
}

/** A key is asked for with a token; where the grant is wrong there is nothing to ask for. */
function noKeyAskedFor({ calls }: Outcome): void {
  expect(!calls.some(({ method }) => method === getKey), "no GetKey by a grant that does not hold");
}

const rows: readonly WrongGrant[] = [
  {
    id: "TP/DC/DC/BI-10",
    title: "refuses a requested permission that was changed",
    what: "one bit of the requested permission is flipped",
    capabilities: ["X2", "C5"],
    likelyMistake: "the requested permission is parsed, and its signature is not verified",
    prepare: (_, { client }) =>
      client.alter(
        grantAltered((grant) => ({
          ...grant,
          ...(grant.requestedPermission && { requestedPermission: withBitFlipped(grant.requestedPermission) }),
        })),
      ),
  },
  {
    id: "TP/DC/DC/BI-11",
    title: "refuses a requested permission that another entity signed",
    what: "the key storage server has signed the requested permission instead of the management",
    capabilities: ["X2"],
    likelyMistake: "any certificate of the network's authority may sign",
    async prepare(t, { client }) {
      client.alter(permissionAltered(t, await t.bench.counterparts.signer("kss"), () => {}));
    },
  },
  {
    id: "TP/DC/DC/BI-12",
    title: "refuses the requested permission of another access",
    what: "the requested permission is one that the management has signed for another access of the same consumer",
    capabilities: ["X2"],
    likelyMistake: "the signature is verified, and what was signed is not compared with the access",
    async prepare(t, { client }) {
      client.alter(
        permissionAltered(t, await t.bench.counterparts.signer("dssm"), (permission) => {
          permission.accessId = Buffer.from(t.random(16)).toString("hex");
        }),
      );
    },
  },
  {
    id: "TP/DC/DC/BI-13",
    title: "refuses a requested permission that was made for another consumer",
    what: "the requested permission is addressed to another user",
    capabilities: ["X2"],
    likelyMistake: "whoever has the permission may use it: the audience in its context is not compared",
    async prepare(t, { client }) {
      client.alter(
        permissionAltered(t, await t.bench.counterparts.signer("dssm"), ({ context }) => {
          if (context !== undefined) context.audience = t.consumer.identity;
        }),
      );
    },
  },
  {
    id: "TP/DC/DC/BI-14",
    title: "shows nothing after the requested permission has expired",
    what: "the management signs a requested permission that ended a minute ago",
    capabilities: ["X7"],
    likelyMistake: "the expiration is left to the management, which will not grant afterwards",
    async prepare(t, { client }) {
      client.alter(
        permissionAltered(t, await t.bench.counterparts.signer("dssm"), (permission) => {
          permission.expiration = timestampFromDate(new Date(Date.now() - 60_000));
        }),
      );
    },
  },
  {
    id: "TP/DC/DC/BI-15",
    title: "exports nothing where the requested permission is read-only",
    what: "the management narrows the requested permission to read-only",
    capabilities: ["X7"],
    likelyMistake: "what the provider published is enforced, and not what the management granted",
    async prepare(t, { client }) {
      client.alter(
        permissionAltered(t, await t.bench.counterparts.signer("dssm"), (permission) => {
          permission.readOnly = true;
        }),
      );
    },
  },
  {
    id: "TP/DC/DC/BI-16",
    title: "refuses a grant without a requested permission where the contract has one",
    what: "the management leaves the requested permission out",
    capabilities: ["X2", "X7"],
    likelyMistake: "a missing permission is taken for Annex A, in which there is none",
    prepare: (_, { client }) => client.alter(grantAltered(({ requestedPermission: _left, ...grant }) => grant)),
  },
  {
    id: "TP/DC/DC/BI-17",
    title: "refuses the answer to another request",
    what: "the management answers with what it has granted another consumer for the same contract",
    clause: "7.3.2",
    capabilities: ["C5"],
    likelyMistake: "record, contract and consumer in the answer are not compared with the request",
    async prepare(t, { client, shared }) {
      const { found } = shared;
      const request = t.consumer.signRequest(t.consumer.accessRequest(found));
      const other: RequestAccessResponse = await byTheKit(() => t.consumer.requestAccess(request));
      client.alter(grantAltered(() => other));
    },
    further: noKeyAskedFor,
  },
  {
    id: "TP/DC/DC/BI-20",
    title: "refuses an access that is not shown to be on the ledger",
    what: "the proof of inclusion is left out",
    clause: "6",
    capabilities: [],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "a missing proof is taken for a proof that needs no check",
    prepare: (_, { client }) => client.alter(grantAltered(({ proof: _left, ...grant }) => grant)),
  },
  {
    id: "TP/DC/DC/BI-21",
    title: "refuses a transaction that is in no block",
    what: "the proof's transaction is signed by the management and true, and not the one in the block",
    clause: "6",
    capabilities: [],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "signatures are verified, and the path from the transaction to the block's root is not computed",
    prepare: (t, { client }) =>
      client.alter(
        grantAltered(async (grant) => {
          if (grant.proof === undefined) return grant;
          const transaction = await signedOffLedger(t, grant.proof.transaction);
          return { ...grant, proof: { ...grant.proof, transaction } };
        }),
      ),
  },
];

function wrongGrant(row: WrongGrant): Purpose {
  const { id, title, what, clause = "7.2.2", capabilities, requires = [], likelyMistake, prepare, further } = row;
  return purpose({
    id,
    title,
    clause,
    steps: ["F4.11"],
    capabilities,
    requires,
    commands: ["access"],
    initialState: "data shared with an access permission",
    stimulus: what,
    expected:
      further === undefined
        ? "another exit code than 0, and no plaintext"
        : "another exit code than 0, no plaintext, and no GetKey",
    twin: "an access with the management's own answer",
    diagram: [
      ["DC", "DSSM", "RequestAccess, signed"],
      ["DSSM", "DC", what],
      ["DC", "tester", "refused"],
    ],
    likelyMistake,
    budgetSeconds: 90,
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      await prepare(t, scene);
      const outcome = await access(scene);
      expectRefused(outcome, what);
      further?.(outcome, scene);
      t.seen(`refused: ${what}`);
    },
  });
}

interface WrongPlace {
  readonly id: PurposeId;
  readonly title: string;
  readonly what: string;
  readonly clause: string;
  readonly capabilities: readonly string[];
  readonly likelyMistake: string;
  readonly alterations: (address: string) => readonly Alteration[];
}

const places: readonly WrongPlace[] = [
  {
    id: "TP/DC/DC/BI-18",
    title: "takes its token nowhere but where the provider has stored the key",
    what: "the key's address in the grant names another key storage server of the network",
    clause: "7.3.2",
    capabilities: ["C5", "C6", "X3"],
    likelyMistake:
      "addresses are taken from the management's answer, and the provider's signature over them is ignored",
    alterations: (address) => [
      grantAltered((grant) => ({ ...grant, ...(grant.key && { key: { ...grant.key, keyAddress: address } }) })),
    ],
  },
  {
    id: "TP/DC/DC/BI-19",
    title: "takes no address from information that its provider did not sign",
    what: "the key's address is changed in the published information, and the signed policy beside it is as it was",
    clause: "6.2.1",
    capabilities: ["C3", "C5"],
    likelyMistake: "the plain information is used, and the signed policy is not opened",
    alterations(address) {
      const altered = (published: PublishedInformation): PublishedInformation => {
        const copy = clone(PublishedInformationSchema, published);
        if (copy.information !== undefined) copy.information.keyAddress = address;
        return copy;
      };
      return [
        unary(InformationPublicationService.method.getInformation, (original) => async (request, context) => {
          const answer = await original(request, context);
          return { ...answer, ...(answer.information && { information: altered(answer.information) }) };
        }),
        unary(InformationPublicationService.method.searchInformation, (original) => async (request, context) => {
          const answer = await original(request, context);
          return { ...answer, information: answer.information.map(altered) };
        }),
        grantAltered((grant) => ({
          ...grant,
          ...(grant.information && { information: altered(grant.information) }),
          ...(grant.key && { key: { ...grant.key, keyAddress: address } }),
        })),
      ];
    },
  },
];

/** Whoever knows the right place may use it: nothing but a token at the wrong one is a fault. */
function wrongPlace({ id, title, what, clause, capabilities, likelyMistake, alterations }: WrongPlace): Purpose {
  return purpose({
    id,
    title,
    clause,
    steps: ["F4.11", "F4.12.2"],
    capabilities,
    commands: ["access"],
    initialState: "data shared with an access permission; a further key storage server in the network",
    stimulus: what,
    expected: "no call reaches the further key storage server",
    twin: "an access with the management's own answer",
    diagram: [
      ["DC", "DSSM", "RequestAccess, signed"],
      ["DSSM", "DC", what],
      ["DC", "tester", "refused, or the right key storage server"],
    ],
    likelyMistake,
    budgetSeconds: 90,
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      const other = await otherKeyStorage(t, scene.client);
      scene.client.alter(...alterations(keyAddress(other, scene.shared.key.id)));
      const outcome = await access(scene);
      expect(!outcome.calls.some(({ impostor }) => impostor), "no call to a server that the provider did not name");
      if (outcome.code === 0) expectPlaintext(outcome, scene);
      t.seen(`the token went nowhere else: ${what}`);
    },
  });
}

export const consumerGrantPurposes: readonly Purpose[] = [...rows.map(wrongGrant), ...places.map(wrongPlace)];
