// What users do while the stack is killed under them, and what they were told: sharing with a permission and as in Annex A, changing and ending what
// is shared, accessing and opening it, reporting how it was used.
import { join } from "node:path";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { DataConsumer } from "../data-consumer/consumer.ts";
import { Policies } from "../data-provider/policies.ts";
import { DataProvider } from "../data-provider/provider.ts";
import { readProfile } from "../user/profile.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { User } from "../user/user.ts";
import type { Ready } from "./crash.fixture.ts";

/** What users were told, by contract address or access. */
export class Told {
  readonly published = new Map<string, { readonly policyId: string; readonly plaintext: string }>();
  /** The newest version that was acknowledged, and what it says. */
  readonly updated = new Map<string, { readonly version: bigint; readonly introduction: string }>();
  readonly withdrawn = new Set<string>();
  /** Asked for, whatever came of it. */
  readonly withdrawing = new Set<string>();
  readonly accesses = new Set<string>();
  /** Accesses of which both reports, opened and closed, were taken. */
  readonly used = new Set<string>();

  /** One that nobody has asked to end. */
  live(): [string, { readonly policyId: string; readonly plaintext: string }] | undefined {
    const live = [...this.published].filter(([address]) => !this.withdrawing.has(address));
    return live[Math.floor(Math.random() * live.length)];
  }
}

/** While the stack is being killed nobody waits for it. */
export const impatient = { attempts: 1, firstPauseMs: 0, longestPauseMs: 0 };

export async function connected(
  ready: Ready,
  name: "provider" | "consumer",
  patience: typeof impatient,
  folder: string,
) {
  const user = await User.connect(await readProfile(ready.users[name].profile));
  return { user, state: StateDirectory.open(join(folder, `${name}.state`)), patience };
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** Every kind of user at once until the stack is killed; `tell` is called after each answer. */
export async function load(ready: Ready, told: Told, folder: string, tell: () => void): Promise<void> {
  const provider = await connected(ready, "provider", impatient, folder);
  const consumer = await connected(ready, "consumer", impatient, folder);
  const sharing = new DataProvider(provider);
  const policies = new Policies(provider);
  const accessing = new DataConsumer(consumer);

  const share = async (annexA: boolean): Promise<void> => {
    const plaintext = `shared ${Math.random()}`;
    const permission = { accessTimes: 1000, expiration: new Date(Date.now() + 3_600_000), readOnly: true };
    const attributes = { category: "crash", introduction: "killed under load" };
    const offer = { attributes, ...(annexA ? {} : { permission }) };
    const { contractAddress, policyId } = await sharing.publish(bytesOf(plaintext), offer);
    told.published.set(contractAddress, { policyId, plaintext });
    tell();
  };
  const update = async (): Promise<void> => {
    const [address, policy] = told.live() ?? [];
    if (address === undefined || policy === undefined) return share(false);
    const introduction = `changed ${Math.random()}`;
    const { version } = await policies.update(policy.policyId, { attributes: { introduction } });
    told.updated.set(address, { version, introduction });
    tell();
  };
  const withdraw = async (): Promise<void> => {
    const [address, policy] = told.live() ?? [];
    if (address === undefined || policy === undefined) return share(false);
    told.withdrawing.add(address);
    await policies.withdraw(policy.policyId);
    told.withdrawn.add(address);
    tell();
  };
  const access = async (): Promise<void> => {
    const [address] = told.live() ?? [];
    if (address === undefined) return share(true);
    try {
      const session = await accessing.access(address);
      told.accesses.add(session.accessId);
      await session.close();
      if ((await accessing.deliverReports()) === 0) told.used.add(session.accessId);
      tell();
    } catch (cause) {
      // It has been ended meanwhile.
      if (!told.withdrawing.has(address) || reasonOf(cause) === ErrorReason.UNSPECIFIED) throw cause;
    }
  };
  /** One after the other: what is updated is not withdrawn at that moment. */
  const change = async (): Promise<void> => {
    await update();
    await share(true);
    await update();
    await withdraw();
  };
  await Promise.all([share(false), share(true)]);
  await Promise.allSettled([() => share(false), () => share(true), change, access, access].map(forEver));
  provider.user.close();
  consumer.user.close();
}

async function forEver(act: () => Promise<void>): Promise<never> {
  for (;;) await act();
}
