// Where a campaign plays: the target, the harness around it, and what its purposes share: connections, accounts, sessions.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AccountSchema } from "../gen/x1410/v1/identity_pb.ts";
import { UserAccountService } from "../gen/x1410/v1/user_account_pb.ts";
import type { Trust } from "../reference/envelope/verify.ts";
import { Channels, type ClientStack } from "./channels.ts";
import type { ClientBench } from "./clients/client-bench.ts";
import { identityOfCredential } from "./credential.ts";
import type { Harness } from "./harness/harness.ts";
import { Inconclusive } from "./procedures/procedure.ts";
import { subscriberRecords } from "./procedures/subscriber-records.ts";
import { User } from "./roles/user.ts";
import { signerTrust } from "./signer-trust.ts";
import {
  type Credential,
  type EntityRole,
  entityRoles,
  type PartyName,
  type Target,
  type TargetEntity,
  TargetError,
  type TargetSettings,
} from "./target.ts";

export interface StageOptions {
  readonly client: ClientStack;
  /** Makes data and mutations; never ids, which must be new to a target that outlives the run. */
  readonly seed: string;
  /** Size of the subscriber records that procedures share. */
  readonly recordBytes: number;
}

export class Stage {
  readonly target: Target;
  readonly settings: TargetSettings;
  readonly harness: Harness | undefined;
  readonly trust: Trust;
  readonly options: StageOptions;
  /** Where a user's side is under test; its servers are then the kit's. */
  readonly bench: ClientBench | undefined;
  readonly #channels = new Map<string, Channels>();
  readonly #shared = new Map<string, Promise<unknown>>();
  readonly #created: (() => Promise<void>)[] = [];
  #records: Uint8Array | undefined;

  /** @throws TargetError where the harness is needed to play a peer and cannot */
  constructor(settings: TargetSettings, harness: Harness | undefined, options: StageOptions, bench?: ClientBench) {
    this.settings = settings;
    this.harness = harness;
    this.options = options;
    this.bench = bench;
    const target = resolved(settings, harness);
    this.target = bench === undefined ? target : { ...target, underTest: new Set([bench.settings.role]) };
    this.trust = signerTrust(this.target);
  }

  /** @throws Inconclusive where nobody gave a certificate for the party */
  credential(party: PartyName): Credential {
    const credential = this.settings.credentials[party] ?? this.harness?.credential(party);
    if (credential === undefined) throw new Inconclusive(`no certificate for ${party} was given`);
    return credential;
  }

  /** The connections of a certificate, which all purposes share. */
  channels(credential: Credential): Channels {
    let channels = this.#channels.get(credential.certificateChainPem);
    if (channels === undefined) {
      channels = this.newChannels(credential);
      this.#channels.set(credential.certificateChainPem, channels);
    }
    return channels;
  }

  /** Connections of their own, for whoever closes them. */
  newChannels(credential: Credential): Channels {
    return new Channels(this.target, credential, this.options.client);
  }

  /** Subscriber records in CSV, the same for the same seed. */
  get records(): Uint8Array {
    const { seed, recordBytes } = this.options;
    this.#records ??= subscriberRecords({ seed, bytes: recordBytes });
    return this.#records;
  }

  /** Gives the user a session, after its account has been made where an operator's certificate allows. */
  async logIn(user: User, credential: Credential): Promise<void> {
    const identity = identityOfCredential(credential);
    await this.#once(`account ${identity}`, () => this.#account(identity));
    user.session = await this.#once(`session ${credential.certificateChainPem}`, async () => {
      const own = new User(this.target, credential, this.channels(credential), this.trust);
      await own.logIn();
      return own.session;
    });
  }

  /** Makes an account for a user of this campaign. Answers how to take it away again. */
  async createAccount(account: MessageInitShape<typeof AccountSchema>): Promise<() => Promise<void>> {
    const accounts = this.channels(this.credential("operator")).client(UserAccountService, "dssm");
    const { callTimeoutSeconds } = this.settings.ixit;
    const timeoutMs = callTimeoutSeconds * 1000;
    await accounts.createAccount({ account }, { timeoutMs });
    return async () => {
      await accounts.deleteAccount({ identity: account.identity ?? "" }, { timeoutMs });
    };
  }

  /** Takes away what the campaign shared, and closes its connections. Answers what could not be taken away. */
  async close(): Promise<string[]> {
    const leftBehind: string[] = [];
    for (const takeAway of this.#created.reverse())
      await takeAway().catch((cause: unknown) => leftBehind.push(`an account: ${ConnectError.from(cause).message}`));
    this.disconnect();
    return leftBehind;
  }

  /** Closes the connections that purposes share; one that somebody holds open without an answer would keep the kit alive. */
  disconnect(): void {
    for (const channels of this.#channels.values()) channels.close();
    this.#channels.clear();
  }

  /** Done once for all purposes; where it fails, the next purpose tries again. */
  #once<T>(name: string, work: () => Promise<T>): Promise<T> {
    const known = this.#shared.get(name) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const promise = work();
    this.#shared.set(name, promise);
    promise.catch(() => this.#shared.delete(name));
    return promise;
  }

  /** Creates the account of a user of the kit, unless it stands ready. Nobody else's account is taken away afterwards. */
  async #account(identity: string): Promise<void> {
    if ((this.settings.credentials.operator ?? this.harness?.credential("operator")) === undefined) return;
    const attributes = { industries: ["isic:j61"], country: "CH", organization: "Conformance test" };
    const rights = { publish: true, access: true };
    try {
      this.#created.push(await this.createAccount({ identity, displayName: "Conformance kit", rights, attributes }));
    } catch (cause) {
      if (!(cause instanceof ConnectError) || cause.code !== Code.AlreadyExists) throw cause;
    }
  }
}

function resolved(settings: TargetSettings, harness: Harness | undefined): Target {
  const { name, credentials } = settings;
  const entity = (role: EntityRole): TargetEntity => {
    const found = settings.entities[role] ?? harness?.peer(role);
    if (found !== undefined) return found;
    throw new TargetError(
      harness === undefined
        ? `${name}: ${role} is neither under test nor played by the kit; add a section harness (x1410 conformance harness)`
        : `${name}: the kit cannot play the ${role} without a certificate: give credentials.${role} or harness.directory`,
    );
  };
  const user = (party: "provider" | "consumer"): Credential => {
    const credential = credentials[party] ?? harness?.credential(party);
    if (credential === undefined) throw new TargetError(`${name}: credentials.${party} is missing`);
    return credential;
  };
  const lists = [settings.revocationListsPem, ...(harness?.authority?.revocationListPems ?? [])];
  return {
    name,
    entities: { dssm: entity("dssm"), kss: entity("kss"), dss: entity("dss") },
    underTest: new Set(entityRoles.filter((role) => settings.entities[role] !== undefined)),
    trustAnchorsPem: harness?.trustAnchorsPem ?? settings.trustAnchorsPem,
    revocationListsPem: lists.join(""),
    provider: user("provider"),
    consumer: user("consumer"),
    operator: credentials.operator ?? harness?.credential("operator"),
    callTimeoutMs: settings.ixit.callTimeoutSeconds * 1000,
  };
}
