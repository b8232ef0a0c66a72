import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { beforeAll, expect, test } from "vitest";
import {
  type DataSharingInformation,
  PolicyUpdateSchema,
  PublishedInformationSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { Deviation } from "../procedures/procedure.ts";
import { authorityForTests, NOWHERE, stageAt } from "../stage.fixture.ts";
import { DataConsumer } from "./data-consumer.ts";
import { DataProvider } from "./data-provider.ts";

authorityForTests();

const id = "0123456789abcdef0123456789abcdef";
const contractAddress = `x1410://dlt.local/contracts/${id}`;
const nobody = { client: () => Promise.reject(new Error("nobody is called")) as never, close: () => {} };
let provider: DataProvider;
let consumer: DataConsumer;
let information: DataSharingInformation;

beforeAll(() => {
  const { target, trust } = stageAt(NOWHERE);
  provider = new DataProvider(target, target.provider, nobody, trust);
  consumer = new DataConsumer(target, target.consumer, nobody, trust);
  const at = (kind: "kss" | "dss", what: string) => ({ id, address: `x1410://${kind}.nobody/${what}/${id}` });
  const key = at("kss", "keys");
  const { encryptedData } = provider.encrypt(randomBytes(100), randomBytes(32), key);
  information = provider.information(key, at("dss", "packages"), encryptedData);
});

function updated(by: DataProvider | DataConsumer): SignedEnvelope {
  const { context, policy } = provider.submission(information);
  if (context === undefined || policy === undefined) throw new Error("a submission without context or policy");
  const update = create(PolicyUpdateSchema, { context, information, policy: { ...policy, version: 2n } });
  return signMessage(by.signer, PolicyUpdateSchema, update);
}

const published = (signedPolicy: SignedEnvelope, edit: Partial<DataSharingInformation> = {}) =>
  create(PublishedInformationSchema, { contractAddress, information: { ...information, ...edit }, signedPolicy });

test("published information is what the provider signed in its submission, or in the update that came last", () => {
  const found = { contractAddress, information };
  expect(consumer.checkPublication(published(provider.sign(provider.submission(information))))).toEqual(found);
  expect(consumer.checkPublication(published(updated(provider)))).toEqual(found);
});

test("information that differs from what was signed in one member is none of the provider's", () => {
  const altered = published(updated(provider), { keyAddress: `x1410://kss.elsewhere/keys/${id}` });
  expect(() => consumer.checkPublication(altered)).toThrow(new Deviation("the information that the provider signed"));
});

test("an update that somebody else has signed is none of the provider's", () => {
  expect(() => consumer.checkPublication(published(updated(consumer)))).toThrow(
    new Deviation("a policy signed by the provider that the information names"),
  );
});
