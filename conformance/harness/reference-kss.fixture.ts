// The reference's key storage server as somebody's own program: set up from a harness folder alone, as an implementer would.
// Arguments: the folder, the port, its own data directory.
import { join } from "node:path";
import { silentLog } from "../../reference/communications/log.ts";
import { NetworkFile } from "../../reference/stack/network.ts";
import { planEntities } from "../../reference/stack/plan.ts";
import { startEntity } from "../../reference/stack/start-entity.ts";

const [folder = "", port = "0", directory = ""] = process.argv.slice(2);
const own = join(folder, "pki/identities/kss-iut");
const plan = planEntities({ basePort: 0, ledgerNodes: 1 }).find(({ kind }) => kind === "kss");
if (plan === undefined) throw new Error("the plan has no key storage server");
await startEntity({
  plan: { ...plan, identity: "urn:x1410:entity:kss:iut", port: Number(port), secondPort: undefined },
  directory,
  files: {
    privateKey: join(own, "key.pem"),
    certificate: join(own, "certificate.pem"),
    chain: join(own, "chain.pem"),
    ca: join(folder, "trust-anchor.pem"),
    crl: join(folder, "revocation-lists.pem"),
  },
  network: new NetworkFile(join(folder, "registry.json"), silentLog),
  pkiDirectory: join(folder, "pki"),
  accessFile: join(directory, "access.yaml"),
  host: "127.0.0.1",
  log: silentLog,
  revocationRefreshMs: 5_000,
  introspection: "off",
});
