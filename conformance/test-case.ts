// What the check of a purpose works with: parties, fresh names, the expectations that decide its verdict, and clean-up.
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import type { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import type { Rights, VerifiedAttributes } from "../gen/x1410/v1/identity_pb.ts";
import type { Trust } from "../reference/envelope/verify.ts";
import type { Channels, Connections } from "./channels.ts";
import type { ClientBench } from "./clients/client-bench.ts";
import { ClientUnderTest } from "./clients/client-under-test.ts";
import { identityIn } from "./credential.ts";
import type { Harness } from "./harness/harness.ts";
import type { HarnessAuthority } from "./harness/harness-authority.ts";
import type { TesterDataStorage } from "./harness/tester-data-storage.ts";
import type { TesterKeyStorage } from "./harness/tester-key-storage.ts";
import type { TesterManagement } from "./harness/tester-management.ts";
import { MessageLog, recorded } from "./message-log.ts";
import { Inconclusive, judge, type StepResult } from "./procedures/procedure.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { expectRefusalOf, refusalFor, refusalSeen, refusalText } from "./refusal.ts";
import { callText } from "./report/failure-text.ts";
import { DataConsumer } from "./roles/data-consumer.ts";
import { DataProvider } from "./roles/data-provider.ts";
import { User } from "./roles/user.ts";
import type { Stage } from "./stage.ts";
import type { Credential, EntityRole, PartyName, Target } from "./target.ts";

type UserClass<U extends User> = new (target: Target, credential: Credential, channels: Connections, trust: Trust) => U;

export interface Account {
  readonly rights?: Partial<Omit<Rights, "$typeName" | "$unknown">>;
  readonly attributes?: Partial<Omit<VerifiedAttributes, "$typeName" | "$unknown">>;
}

/** Time for taking things away, after the check's own time is over. */
const CLEAN_UP_MS = 15_000;
/** So many say what came before a deviation. */
const LAST_CALLS = 3;

export class TestCase {
  readonly purpose: Purpose;
  readonly target: Target;
  readonly log = new MessageLog();
  readonly remarks: string[] = [];
  /** Of a purpose that replays a procedure. */
  readonly steps: StepResult[] = [];
  readonly #stage: Stage;
  readonly #users = new Map<string, User>();
  readonly #credentials = new Map<User, Credential>();
  readonly #cleanUps: (() => Promise<unknown>)[] = [];
  readonly #clients: ClientUnderTest[] = [];
  readonly #onStep: (step: StepResult) => void;
  readonly #channels = new Map<string, Channels>();
  /** Users with an account and a session of this purpose alone. */
  readonly #fresh = new Set<User>();
  readonly #over = new AbortController();
  #signal: AbortSignal;
  /** Ends the calls of the parties. */
  #calls: AbortSignal;
  #twinPassed = false;
  #drawn = 0;

  constructor(purpose: Purpose, stage: Stage, signal: AbortSignal, onStep: (step: StepResult) => void = () => {}) {
    this.purpose = purpose;
    this.target = stage.target;
    this.#stage = stage;
    this.#signal = signal;
    this.#calls = AbortSignal.any([signal, this.#over.signal]);
    this.#onStep = onStep;
  }

  /** Ends when the purpose's time is over. Every call of its parties ends with it. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  // Parties

  get provider(): DataProvider {
    return this.#user("provider", DataProvider);
  }

  get secondProvider(): DataProvider {
    return this.#user("secondProvider", DataProvider);
  }

  get consumer(): DataConsumer {
    return this.#user("consumer", DataConsumer);
  }

  get secondConsumer(): DataConsumer {
    return this.#user("secondConsumer", DataConsumer);
  }

  /** Anybody, to call any method: `t.as("dssm").client(KeyStorageService, "kss")`. */
  as(party: PartyName): User {
    return this.#user(party, User);
  }

  /** Whoever holds this certificate, on connections of this purpose alone. */
  holding<U extends User = User>(credential: Credential, role?: UserClass<U>): U {
    return this.#play((role ?? User) as UserClass<U>, credential, this.#ownChannels(credential));
  }

  /** A party on connections of this purpose alone: whoever stalls, floods or leaves a stream unread must not hold up other purposes. */
  apart<U extends User = User>(party: PartyName, role?: UserClass<U>): U {
    return this.holding(this.#stage.credential(party), role);
  }

  /** Connections of any certificate, such as names nobody or signs nothing, of this purpose alone. */
  connections(credential: Credential): Connections {
    return this.#connections(credential, this.#ownChannels(credential));
  }

  #ownChannels(credential: Credential): Channels {
    const known = this.#channels.get(credential.certificateChainPem);
    if (known !== undefined) return known;
    const channels = this.#stage.newChannels(credential);
    this.#channels.set(credential.certificateChainPem, channels);
    return channels;
  }

  #connections(credential: Credential, channels: Channels): Connections {
    const from = identityIn(credential) ?? "a certificate that names nobody";
    const timeoutMs = this.ixit.callTimeoutSeconds * 1000;
    return {
      client: <S extends DescService>(service: S, to: EntityRole): Client<S> => {
        const recording = { log: this.log, from, to, signal: () => this.#calls, timeoutMs };
        return createClient(service, recorded(channels.transport(to), recording));
      },
      // The stage closes what all purposes share, the end of the purpose what is its own.
      close: () => {},
    };
  }

  /** The user with a session at the management; its account is made before, where an operator's certificate was given. */
  async inSession<U extends User>(user: U): Promise<U> {
    const credential = this.#credentials.get(user);
    if (credential === undefined) throw new Error("this user is not of this purpose");
    if (this.#fresh.has(user)) await user.logIn();
    else await this.#given("UserAuthenticationService", () => this.#stage.logIn(user, credential));
    return user;
  }

  /** A user with a certificate and an account of this purpose alone, not yet in session. */
  async freshUser<U extends User>(role: UserClass<U>, { rights, attributes }: Account = {}): Promise<U> {
    const credential = this.authority.issue("user", this.freshName("user"));
    const user = this.holding(credential, role);
    this.#fresh.add(user);
    const account = {
      identity: user.identity,
      displayName: "Conformance kit",
      rights: { publish: true, access: true, ...rights },
      attributes: { industries: ["isic:j61"], country: "CH", organization: "Conformance test", ...attributes },
    };
    this.cleanUp(await this.#given("UserAccountService", () => this.#stage.createAccount(account)));
    return user;
  }

  /** The user's side under test, with the kit's servers around it. */
  get bench(): ClientBench {
    const { bench } = this.#stage;
    if (bench === undefined) throw new Inconclusive("needs a user's side under test");
    return bench;
  }

  /** A user of the implementation under test, with a certificate and an account of this purpose alone. */
  async client({ rights, attributes }: Account = {}): Promise<ClientUnderTest> {
    const { bench } = this;
    const credential = bench.counterparts.authority.issue("user", this.freshName(bench.settings.role));
    const client = await ClientUnderTest.create(bench, credential, this.log, () => this.#calls);
    this.#clients.push(client);
    this.cleanUp(() => client.close());
    const deleteAccount = await this.#stage.createAccount({
      identity: client.identity,
      displayName: "Client under test",
      rights: { publish: true, access: true, ...rights },
      attributes: { industries: ["isic:j61"], country: "CH", organization: "Conformance test", ...attributes },
    });
    this.cleanUp(deleteAccount);
    return client;
  }

  /** The tester's management: issues tokens, right and wrong ones. For purposes with `tester: ["dssm"]`. */
  get management(): TesterManagement {
    return this.#harness.management;
  }

  /** Trusted by the implementation as much as the first, and named by nobody for any key. */
  get secondManagement(): TesterManagement {
    return this.#harness.secondManagement;
  }

  /** The tester's key storage server, for purposes with `tester: ["kss"]`. */
  get keyServer(): TesterKeyStorage {
    return this.#harness.keyServer;
  }

  /** The tester's data storage server, for purposes with `tester: ["dss"]`. */
  get dataServer(): TesterDataStorage {
    return this.#harness.dataServer;
  }

  /** The kit's own certification authority: issues, forges, revokes. */
  get authority(): HarnessAuthority {
    const authority = this.#stage.harness?.authority;
    if (authority === undefined)
      throw new Inconclusive(
        "needs certificates that only an authority of the kit's own can issue and revoke, and the target trusts none (harness.directory)",
      );
    return authority;
  }

  credential(party: PartyName): Credential {
    return this.#stage.credential(party);
  }

  get trust(): Trust {
    return this.#stage.trust;
  }

  get ixit() {
    return this.#stage.settings.ixit;
  }

  /** Subscriber records in CSV, the same for the same seed. */
  get records(): Uint8Array {
    return this.#stage.records;
  }

  // Names and data

  /** New to the target: ids, nonces, secrets. */
  random(size: number): Uint8Array {
    return new Uint8Array(randomBytes(size));
  }

  /** A name that no other purpose and no other run has. */
  freshName(prefix: string): string {
    return `kit-${prefix}-${randomBytes(6).toString("hex")}`;
  }

  /** Data that the seed decides, whatever the order of the purposes: contents, places to alter. */
  seeded(size: number): Uint8Array {
    const text = `${this.#stage.options.seed} ${this.purpose.id} ${this.#drawn++}`;
    const key = createHash("sha256").update(text).digest();
    return new Uint8Array(createCipheriv("aes-256-ctr", key, new Uint8Array(16)).update(new Uint8Array(size)));
  }

  /** A number from 0 up to, without, `below`, as the seed decides. */
  seededNumber(below: number): number {
    return Buffer.from(this.seeded(6)).readUIntBE(0, 6) % below;
  }

  // Expectations

  /** What was seen, for the report. */
  seen(text: string): void {
    this.remarks.push(text);
  }

  /** What came last before a deviation: of a client under test its last command, of servers the last calls; "" where nothing came. */
  whatHappened(): string {
    const client = this.#clients.findLast(({ lastCommand }) => lastCommand !== "");
    if (client !== undefined) return client.lastCommand;
    const calls = this.log.calls.slice(-LAST_CALLS).map(callText);
    return calls.length === 0 ? "" : `the last calls were ${calls.join(", ")}`;
  }

  /**
   * The request with nothing wrong. Where it does not work, a refusal of the wrong one would prove nothing, and the purpose is inconclusive.
   */
  async positiveTwin<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      const value = await action();
      this.#twinPassed = true;
      this.seen(`positive twin: ${what}`);
      return value;
    } catch (cause) {
      const [verdict, text] = judge(cause);
      if (verdict === "ERROR") throw cause;
      throw new Inconclusive(`the positive twin failed (${what}): ${text}`);
    }
  }

  /** Passes where `call` is refused as the purpose says, or for `reason`. */
  async expectRefusal(call: () => Promise<unknown>, reason?: ErrorReason): Promise<void> {
    const expected = reason === undefined ? this.purpose.expected : refusalFor(reason);
    if (typeof expected === "string") throw new Error(`${this.purpose.id} does not say which refusal it expects`);
    if (!this.#twinPassed) throw new Error(`${this.purpose.id} expects a refusal before its positive twin has passed`);
    await expectRefusalOf(call, expected);
    this.seen(`refused: ${refusalText(expected)}`);
  }

  /**
   * Whether a call failed on the way to what the purpose is about, so that nothing of that can be judged: what comes before the twin of a
   * refusal, or a method of no concern before the first that is. A method of concern that is not there is judged wherever it is missing.
   */
  isOnTheWay(cause: ConnectError): boolean {
    const { methods, expected } = this.purpose;
    const call = this.log.callOf(cause);
    if (call === undefined) return false;
    const own = methods.includes(call.method);
    if (own && cause.code === Code.Unimplemented) return false;
    if (typeof expected !== "string" && !this.#twinPassed) return true;
    return !own && methods.length > 0 && !this.log.anyBefore(call, methods);
  }

  /** A step of a procedure that this purpose replays. */
  step(result: StepResult): void {
    this.steps.push(result);
    this.#onStep(result);
  }

  // The end

  /** Done afterwards, last first, whatever the verdict. What is gone already counts as taken away. */
  cleanUp(action: () => Promise<unknown>): void {
    this.#cleanUps.push(action);
  }

  /** Answers what could not be taken away. For the runner. */
  async finish(): Promise<string[]> {
    const leftBehind: string[] = [];
    // A stream that nobody reads any more would take its share of the connection from others.
    this.#over.abort(new ConnectError("the purpose is over", Code.Canceled));
    this.#signal = AbortSignal.timeout(CLEAN_UP_MS);
    this.#calls = this.#signal;
    for (const action of this.#cleanUps.splice(0).reverse())
      await withinSignal(action(), this.#signal).catch((cause: unknown) => {
        const error = ConnectError.from(cause);
        if (error.code !== Code.NotFound) leftBehind.push(error.message);
      });
    for (const channels of this.#channels.values()) channels.close();
    this.log.close();
    return leftBehind;
  }

  get #harness(): Harness {
    const { harness } = this.#stage;
    if (harness === undefined) throw new Inconclusive("needs a peer that the kit plays, and the target has no harness");
    return harness;
  }

  /** What the stage gives a purpose that is not about that. @throws Inconclusive where the target refuses it then */
  async #given<T>(service: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const isAbout = this.purpose.methods.some((method) => method.startsWith(`${service}/`));
      if (isAbout || !(cause instanceof ConnectError)) throw cause;
      const what = service === "UserAccountService" ? "an account" : "a session";
      throw new Inconclusive(`on the way to what is asked: the kit's user does not get ${what}: ${refusalSeen(cause)}`);
    }
  }

  #user<U extends User>(party: PartyName, role: UserClass<U>): U {
    const name = `${party} ${role.name}`;
    const known = this.#users.get(name);
    if (known !== undefined) return known as U;
    const credential = this.#stage.credential(party);
    const user = this.#play(role, credential, this.#stage.channels(credential));
    this.#users.set(name, user);
    return user;
  }

  #play<U extends User>(role: UserClass<U>, credential: Credential, channels: Channels): U {
    const user = new role(this.target, credential, this.#connections(credential, channels), this.trust);
    this.#credentials.set(user, credential);
    return user;
  }
}

/** The work, or a failure as soon as the signal ends: nothing may keep a purpose beyond its time. */
export function withinSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const over = () => reject(new ConnectError("the time is over", Code.DeadlineExceeded));
    if (signal.aborted) over();
    signal.addEventListener("abort", over, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", over));
  });
}
