// A data consumer under test (clauses 6.2.1 and 7.2.2): what it sends where nothing is wrong, step by step.
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { access, bareScene, consumerScene, expectOrder, expectPlaintext } from "../clients/consumer-scene.ts";
import { type Arrow, type Purpose, purpose } from "./purpose.ts";

const { beginAuthentication, completeAuthentication } = UserAuthenticationService.method;
const { requestAccess } = DataSharingAccessService.method;
const { getKey } = KeyStorageService.method;
const { getPackage } = DataDistributionService.method;
const order = [beginAuthentication, completeAuthentication, requestAccess, getKey, getPackage];

const diagram = (granted: string, opened: string): readonly Arrow[] => [
  ["tester", "DC", "access {contract}, write {output}"],
  ["DC", "DSSM", "mutual authentication, three passes"],
  ["DC", "DSSM", "RequestAccess, signed"],
  ["DSSM", "DC", granted],
  ["DC", "KSS", "GetKey with the token"],
  ["DC", "DSS", "GetPackage"],
  ["DC", "DC", opened],
  ["DC", "tester", "the plaintext"],
];

export const consumerAccessPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DC/F4/BV-01",
    title: "accesses shared data as Figure 4 has it",
    clause: "7.3.2",
    steps: [
      "F4.1",
      "F4.2.1",
      "F4.2.2",
      "F4.3",
      "F4.11",
      "F4.12.1",
      "F4.12.2",
      "F4.14",
      "F4.15.1",
      "F4.15.2",
      "F4.17",
      "F4.18",
    ],
    capabilities: ["U3", "C2", "C3", "C5", "C6", "C7", "C8", "X1", "X2", "X3", "X4", "X6", "S2", "AAC4"],
    commands: ["access"],
    initialState: "data shared with an access permission",
    stimulus: "the command access with the contract's address",
    expected: "authentication, RequestAccess, GetKey and GetPackage in this order; the plaintext that was shared",
    diagram: diagram("token, requested permission, addresses", "verifies the package, decrypts"),
    likelyMistake: "key or package are asked for before the management has granted the access",
    budgetSeconds: 60,
    async run(t) {
      const scene = await consumerScene(t);
      const outcome = await access(scene);
      expectPlaintext(outcome, scene);
      expectOrder(outcome.calls, order);
      t.seen(`${outcome.calls.length} calls; the plaintext, ${scene.shared.plaintext.length} bytes`);
    },
  }),
  purpose({
    id: "TP/DC/A2/BV-01",
    title: "accesses data shared without an access permission as Annex A.2 has it",
    clause: "Annex A.2",
    steps: ["A2.1", "A2.2", "A2.3", "A2.8", "A2.9", "A2.12", "A2.13", "A2.15", "A2.16"],
    capabilities: ["C5", "C6", "C7", "C8"],
    commands: ["access"],
    initialState: "data shared without an access permission: a bare ciphertext",
    stimulus: "the command access with the contract's address",
    expected: "authentication, RequestAccess, GetKey and GetPackage in this order; the plaintext that was shared",
    diagram: diagram(
      "token and addresses, no permission",
      "compares the bare ciphertext with the signed information, decrypts",
    ),
    likelyMistake: "a package with metadata is taken for granted, where Annex A stores the bare ciphertext",
    budgetSeconds: 60,
    async run(t) {
      const scene = await bareScene(t);
      const outcome = await access(scene);
      expectPlaintext(outcome, scene);
      expectOrder(outcome.calls, order);
      t.seen(`${outcome.calls.length} calls; the plaintext, ${scene.shared.plaintext.length} bytes`);
    },
  }),
];
