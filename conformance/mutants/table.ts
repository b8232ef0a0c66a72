// `npm run mutants`: tries every mutant, or those named, and prints which purposes found it. `--wide` tries further purposes that may find it
// as well: of a server those of the methods concerned, of a user's side all.
import { Console } from "node:console";
import { clientMutants, tryClientMutants } from "./client-mutants.ts";
import { mutants, tryMutants } from "./mutants.ts";

interface Trial {
  readonly mutant: { readonly id: string; readonly clause: string; readonly breaks: string };
  readonly failed: readonly { readonly id: string; readonly expected: string }[];
  readonly missed: readonly string[];
}

const { log } = new Console(process.stdout);
const args = process.argv.slice(2);
const wide = args.includes("--wide");
const named = args.filter((arg) => !arg.startsWith("--"));
const wanted = <M extends { readonly id: string }>(list: readonly M[]) =>
  list.filter(({ id }) => named.length === 0 || named.includes(id));

let [found, survived] = [0, 0];

function print({ mutant, failed, missed }: Trial): void {
  if (missed.length === 0) found += 1;
  else survived += 1;
  log(`${missed.length === 0 ? "found   " : "SURVIVED"} ${mutant.id}, clause ${mutant.clause}: ${mutant.breaks}`);
  for (const { id, expected } of failed) log(`           ${id}: expected ${expected}`);
  for (const text of missed) log(`           not found by ${text}`);
}

const servers = wanted(mutants);
const users = wanted(clientMutants);
if (servers.length > 0) await tryMutants(servers, { wide, onTrial: print });
if (users.length > 0) await tryClientMutants(users, { wide, onTrial: print });
log(`${found} passed, ${survived} failed`);
process.exitCode = survived === 0 && found > 0 ? 0 : 1;
