// `x1410 operator …`: the users of a network, on the command line of its operator.
import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import { Command, InvalidArgumentError, Option } from "commander";
import { normalizeSerial } from "../../certs/der.ts";
import { makePrivateDirectory, PRIVATE_FILE, PUBLIC_FILE, writeDurably } from "../../certs/durable-file.ts";
import { identityOf } from "../../certs/identity.ts";
import { KEY_ALGORITHMS, type KeyAlgorithm } from "../../certs/key-pair.ts";
import { RevocationReason } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Account, AccountSchema } from "../../gen/x1410/v1/identity_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { unreachable } from "../user/connection-diagnosis.ts";
import { ProfileError, profileText, readProfile, readProfileFile } from "../user/profile.ts";
import { mayPass } from "../user/repetition.ts";
import { collectIndustry, country, print, printJson } from "../user/user-command.ts";
import { addLedgerCommands } from "./ledger-commands.ts";
import { type AccountContents, type Enrolment, Operator, userIdentity } from "./operator.ts";

/** A command line that cannot be carried out; the message says what to give instead. */
class OperatorCommandError extends Error {
  override name = "OperatorCommandError";
}

interface OperatorOptions {
  readonly profile: string;
  readonly json?: true;
}

interface AccountOptions extends OperatorOptions {
  readonly publish?: boolean;
  readonly access?: boolean;
  readonly industry?: readonly string[];
  readonly country?: string;
  readonly organization?: string;
  readonly displayName?: string;
}

const keyOption = () => new Option("--key <algorithm>", "algorithm of the key pair").choices(KEY_ALGORITHMS);

export function operatorCommand(): Command {
  const operator = new Command("operator").description(
    "add users, keep their accounts, revoke certificates, name the proposer of the ledger",
  );
  addUsers(operator);
  addAccountChanges(operator);
  addCertificates(operator);
  addLedgerCommands((name, description) => verb(operator, name, description), asOperator);
  return operator;
}

function addUsers(operator: Command): void {
  accountOptions(
    verb(operator, "add-user", "enrol a user: certificate, profile and account").argument("<name>", NAME, userOf),
  )
    .option("--publish", "may publish")
    .option("--access", "may access")
    .addOption(keyOption())
    .action((identity: string, options: AccountOptions & { key?: KeyAlgorithm }) => addUser(identity, options));
  verb(operator, "users", "list the accounts").action((options: OperatorOptions) =>
    asOperator(options, async (own) => {
      for await (const account of own.accounts()) {
        if (options.json) printJson(toJson(AccountSchema, account));
        else print(accountLine(account));
      }
    }),
  );
}

async function addUser(identity: string, options: AccountOptions & { key?: KeyAlgorithm }): Promise<void> {
  if (!options.publish && !options.access)
    throw new OperatorCommandError("say what the user may do: --publish, --access or both");
  const profile = profileOf(identity, options);
  await asOperator(options, async (own) => {
    const left = existsSync(profile) ? await leftBehind(own, identity, profile) : undefined;
    const former = left && (await fateOf(own, left));
    // The account first: the same contents again are in order, so that a run that broke off is simply repeated.
    const account = await own.addAccount(identity, contentsOf(options));
    await keep(await own.enrol(identity, options.key), profile, options);
    if (options.json) printJson({ account: toJson(AccountSchema, account), profile, ...formerJson(former) });
    else {
      print(accountLine(account));
      if (former !== undefined) {
        const inForce = former.state === "valid" ? ", and the account is in force for it too" : "";
        print(`${formerText(former)}${inForce}.`);
      }
      print(`Profile: ${profile}`);
      if (options.publish) print(`  npx x1410 provider publish FILE --rules RULES --profile ${profile}`);
      if (options.access) print(`  npx x1410 consumer search --profile ${profile}`);
    }
  });
}

/**
 * Looks at a profile that is there: one that outlived its account may be replaced, one of a user with an account or of somebody else may not.
 * @throws OperatorCommandError
 */
async function leftBehind(own: Operator, identity: string, profile: string): Promise<X509Certificate | undefined> {
  const former = await formerCertificate(identity, profile);
  const present = await own.account(identity).catch((cause: unknown) => {
    if (reasonOf(cause) !== ErrorReason.ACCOUNT_NOT_FOUND) throw cause;
  });
  if (present !== undefined)
    throw new OperatorCommandError(
      `${profile} is there already; update-user changes the account, renew-user the certificate`,
    );
  return former;
}

function addAccountChanges(operator: Command): void {
  const update = verb(operator, "update-user", "change an account; what is not given stays as it is");
  accountOptions(update.argument("<name>", NAME, userOf))
    .option("--publish", "may publish")
    .option("--no-publish", "may not publish")
    .option("--access", "may access")
    .option("--no-access", "may not access")
    .action((identity: string, options: AccountOptions) =>
      asOperator(options, async (own) => {
        const { profile: _profile, json: _json, ...change } = options;
        if (Object.keys(change).length === 0)
          throw new OperatorCommandError(
            "nothing to change; `npx x1410 operator update-user --help` lists what can be",
          );
        const account = await own.updateAccount(identity, (present) => contentsOf(options, present));
        if (options.json) printJson(toJson(AccountSchema, account));
        else print(accountLine(account));
      }),
    );
  verb(operator, "delete-user", "delete an account and end its sessions; its certificates stay valid until revoked")
    .argument("<name>", NAME, userOf)
    .action((identity: string, options: OperatorOptions) =>
      asOperator(options, async (own) => {
        await own.deleteAccount(identity);
        if (options.json) printJson({ deleted: identity });
        else
          print(`The account of ${identity} is deleted; revoke-user revokes its certificates, add-user makes it anew.`);
      }),
    );
}

function addCertificates(operator: Command): void {
  verb(operator, "renew-user", "give a user a new key pair and certificate, in its profile")
    .argument("<name>", NAME, userOf)
    .addOption(keyOption())
    .action(async (identity: string, options: OperatorOptions & { key?: KeyAlgorithm }) => {
      const profile = profileOf(identity, options);
      await readProfileFile(profile);
      const present = await formerCertificate(identity, profile);
      await asOperator(options, async (own) => {
        // A certificate is for a user, and no account means that there is none.
        await own.account(identity);
        const former = present && (await fateOf(own, present));
        await keep(await own.enrol(identity, options.key), profile, options);
        if (options.json) printJson({ renewed: identity, profile, ...formerJson(former) });
        else print(`${identity} has a new certificate.${former === undefined ? "" : ` ${formerText(former)}.`}`);
      });
    });
  verb(operator, "revoke-user", "revoke every certificate of a user, renewals included, and end open enrolments")
    .argument("<name>", NAME, userOf)
    .addOption(new Option("--certificate <file>", "one certificate of the user alone, PEM; the others stay valid"))
    .addOption(new Option("--reason <reason>", "why").choices(Object.keys(REASONS)).default("unspecified"))
    .action((identity: string, options: OperatorOptions & { certificate?: string; reason: string }) =>
      revokeUser(identity, options),
    );
}

async function revokeUser(
  identity: string,
  options: OperatorOptions & { certificate?: string; reason: string },
): Promise<void> {
  const { certificate: path } = options;
  const reason = REASONS[options.reason] ?? RevocationReason.UNSPECIFIED;
  const one = path === undefined ? undefined : parsed(await readFile(path, "utf8"), path);
  const holder = one === undefined ? identity : identityOf(one);
  if (holder !== identity) throw new OperatorCommandError(`that is a certificate of ${holder}, not of ${identity}`);
  const serialNumbers = await asOperator(options, async (own) => {
    if (one === undefined) return own.revokeIdentity(identity, reason);
    await own.revoke(createHash("sha256").update(one.raw).digest(), reason);
    return [normalizeSerial(one.serialNumber)];
  });
  if (options.json) return printJson({ revoked: identity, serialNumbers });
  if (serialNumbers.length === 0) print(`No certificate of ${identity} is valid any more.`);
  for (const serialNumber of serialNumbers) print(`Certificate ${serialNumber} of ${identity} is revoked.`);
  if (one !== undefined) print("Other certificates of the user, such as renewals of this one, stay valid.");
  print("Servers refuse what is revoked when they have fetched the new list (up --crl-refresh).");
  print("A pre-shared key of the user is no certificate: take it out of pre-shared-keys.json of each server as well.");
}

const NAME = "name in urn:x1410:user:NAME, in small letters";

const REASONS: Readonly<Record<string, RevocationReason>> = {
  unspecified: RevocationReason.UNSPECIFIED,
  keyCompromise: RevocationReason.KEY_COMPROMISE,
  affiliationChanged: RevocationReason.AFFILIATION_CHANGED,
  superseded: RevocationReason.SUPERSEDED,
  cessationOfOperation: RevocationReason.CESSATION_OF_OPERATION,
};

function verb(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option("--profile <file>", "the operator's profile", "x1410-data/profiles/operator.json")
    .option("--json", "print JSON, for programs");
}

function accountOptions(command: Command): Command {
  return command
    .option("--industry <code>", "of this industry, as a code such as isic:j61; may be repeated", collectIndustry)
    .option("--country <code>", "of this country, ISO 3166-1 alpha-2 such as CH", country)
    .option("--organization <name>", "legal name of the organization")
    .option("--display-name <name>", "name to show");
}

function userOf(name: string): string {
  try {
    return userIdentity(name);
  } catch {
    throw new InvalidArgumentError("a name is 1 to 63 of a-z, 0-9, dot and hyphen, and begins with a letter or digit.");
  }
}

/** What is not given is as it was. */
function contentsOf(options: AccountOptions, present?: Account): AccountContents {
  const { rights, attributes } = present ?? {};
  return {
    displayName: options.displayName ?? present?.displayName ?? "",
    rights: {
      publish: options.publish ?? rights?.publish ?? false,
      access: options.access ?? rights?.access ?? false,
    },
    attributes: {
      industries: [...(options.industry ?? attributes?.industries ?? [])],
      country: options.country ?? attributes?.country ?? "",
      organization: options.organization ?? attributes?.organization ?? "",
    },
  };
}

/** Where profiles are: beside that of the operator. */
function profileOf(identity: string, { profile }: OperatorOptions): string {
  return join(dirname(profile), `${identity.slice(identity.lastIndexOf(":") + 1)}.json`);
}

/** Key, then certificate, then the profile that names them; whom to trust is what the operator trusts. */
async function keep(enrolment: Enrolment, profile: string, options: OperatorOptions): Promise<void> {
  const own = await readProfileFile(options.profile);
  const folder = profile.slice(0, -".json".length);
  makePrivateDirectory(folder);
  writeDurably(join(folder, "key.pem"), enrolment.privateKeyPem, PRIVATE_FILE);
  writeDurably(join(folder, "chain.pem"), enrolment.certificateChainPem, PUBLIC_FILE);
  const profiles = resolve(dirname(profile));
  const at = (path: string) => relative(profiles, resolve(path));
  const contents = { ...own, certificate: at(join(folder, "chain.pem")), privateKey: at(join(folder, "key.pem")) };
  writeDurably(profile, profileText(contents), PUBLIC_FILE);
}

async function asOperator<T>({ profile: path }: OperatorOptions, run: (operator: Operator) => Promise<T>): Promise<T> {
  const profile = await readProfile(path);
  const operator = await Operator.connect(profile).catch(async (cause: unknown) => {
    if (!mayPass(cause)) throw cause;
    throw await unreachable(path, profile, cause);
  });
  try {
    return await run(operator);
  } finally {
    operator.close();
  }
}

async function certificateIn(profile: string): Promise<X509Certificate> {
  return parsed((await readProfile(profile)).certificateChainPem, `the certificate of ${profile}`);
}

/** Undefined where key or certificate are lost: then a new one is needed all the more. @throws OperatorCommandError */
async function formerCertificate(identity: string, profile: string): Promise<X509Certificate | undefined> {
  const former = await certificateIn(profile).catch((cause: unknown) => {
    if (!(cause instanceof ProfileError)) throw cause;
  });
  const holder = former === undefined ? identity : identityOf(former);
  if (holder !== identity) throw new OperatorCommandError(`${profile} is there already, of ${holder}`);
  return former ?? undefined;
}

interface FormerCertificate {
  readonly serialNumber: string;
  readonly state: "revoked" | "expired" | "valid";
  /** Since or until when. */
  readonly date: Date;
}

async function fateOf(own: Operator, certificate: X509Certificate): Promise<FormerCertificate> {
  const serialNumber = normalizeSerial(certificate.serialNumber);
  const until = new Date(certificate.validTo);
  const revokedAt = await own.revokedAt(serialNumber);
  if (revokedAt !== undefined) return { serialNumber, state: "revoked", date: revokedAt };
  return { serialNumber, state: until < new Date() ? "expired" : "valid", date: until };
}

function formerText({ serialNumber, state, date }: FormerCertificate): string {
  const fate = { revoked: "was revoked on", expired: "expired on", valid: "is valid until" }[state];
  return `The former certificate ${serialNumber} ${fate} ${date.toISOString()}`;
}

function formerJson(former: FormerCertificate | undefined) {
  if (former === undefined) return {};
  return { formerSerialNumber: former.serialNumber, formerState: former.state, formerDate: former.date.toISOString() };
}

function parsed(pem: string, place: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new ProfileError(`${place} is no certificate in PEM`);
  }
}

function accountLine({ identity, rights, attributes, displayName }: Account): string {
  const may = [rights?.publish && "publish", rights?.access && "access"].filter(Boolean).join(", ");
  const { industries = [], country: where = "", organization = "" } = attributes ?? {};
  const verified = [...industries, where, organization].filter((text) => text !== "").join(", ");
  return [identity, `may ${may === "" ? "nothing" : may}`, verified, displayName]
    .filter((text) => text !== "")
    .join("  ");
}
