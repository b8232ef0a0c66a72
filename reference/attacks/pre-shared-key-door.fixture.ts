// The stack with ports for pre-shared keys (AAC1), and users who come through them.
import { Channels } from "../../conformance/channels.ts";
import { DataConsumer } from "../../conformance/roles/data-consumer.ts";
import { DataProvider } from "../../conformance/roles/data-provider.ts";
import type { Credential, EntityRole } from "../../conformance/target.ts";
import type { ChannelOptions } from "../communications/channel-options.ts";
import { createPreSharedKeyFile, readPreSharedKeyFile } from "../communications/pre-shared-key-file.ts";
import type { PreSharedKey } from "../communications/pre-shared-keys.ts";
import { pskTransport } from "../communications/psk-transport.ts";
import { preSharedKeyPath } from "../stack/doors.ts";
import { launchAltered } from "../stack/one-process.ts";
import type { Launcher, Started } from "../stack/stack.ts";
import type { AttackRig } from "./attack-rig.fixture.ts";

const PROVIDER = "urn:x1410:user:provider";
const CONSUMER = "urn:x1410:user:consumer";

export class PreSharedKeyDoors {
  readonly #folders = new Map<string, string>();
  readonly #started = new Map<string, Started>();

  /** For the rig: opens the ports, with a key for each of the stack's users. */
  readonly launch: Launcher = async (launch) => {
    const { plan, directory } = launch;
    const users = ["kss", "dss", "dssm"].includes(plan.kind);
    if (users) createPreSharedKeyFile(preSharedKeyPath(directory), [PROVIDER, CONSUMER]);
    const pskPort = users ? 0 : undefined;
    const started = await launchAltered({ ...launch, plan: { ...plan, pskPort } }, (registrations) => registrations);
    this.#folders.set(plan.identity, directory);
    this.#started.set(plan.identity, started);
    return started;
  };

  endpoint(entity: string): string {
    return this.#started.get(entity)?.pskEndpoint ?? "";
  }

  keyPath(entity: string): string {
    return preSharedKeyPath(this.#folders.get(entity) ?? "");
  }

  keyOf(user: string, entity: string): PreSharedKey {
    const found = readPreSharedKeyFile(this.keyPath(entity)).find(({ identity }) => identity === user);
    if (found === undefined) throw new Error(`${user} has no key for ${entity}`);
    return found;
  }

  /** A way to a server by the key of `user`, whatever certificate is asked for. */
  opener(rig: AttackRig, user: string) {
    return ({ serverIdentity }: Pick<ChannelOptions, "serverIdentity">) => {
      if (typeof serverIdentity !== "string") throw new Error("a server of one identity is meant");
      const preSharedKey = this.keyOf(user, serverIdentity);
      return pskTransport({ address: this.endpoint(serverIdentity), serverIdentity, preSharedKey, trust: rig.trust });
    };
  }

  provider(rig: AttackRig, credential = rig.target.provider, user = PROVIDER): DataProvider {
    return rig.keep(new DataProvider(rig.target, credential, this.#channels(rig, credential, user), rig.trust));
  }

  consumer(rig: AttackRig, credential = rig.target.consumer, user = CONSUMER): DataConsumer {
    return rig.keep(new DataConsumer(rig.target, credential, this.#channels(rig, credential, user), rig.trust));
  }

  #channels(rig: AttackRig, credential: Credential, user: string): Channels {
    return new Channels(rig.target, credential, this.opener(rig, user));
  }
}

export const entityRoles: readonly EntityRole[] = ["dssm", "kss", "dss"];
