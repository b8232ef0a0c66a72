// The options of the command line that say what is shared with whom and on which terms (P6, W4).
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { AllowedPartiesSchema, DataAttributesSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { collect, collectCountry, collectIndustry, collectUser, instant } from "../user/user-command.ts";
import type { Offer } from "./offer.ts";
import type { PolicyChange } from "./policies.ts";

export interface OfferOptions {
  readonly permission?: boolean;
  readonly times?: number;
  readonly expires?: Date;
  readonly readOnly?: boolean;
  readonly category?: string;
  readonly introduction?: string;
  readonly usage?: string;
  readonly keyword?: readonly string[];
  readonly industry?: readonly string[];
  readonly country?: readonly string[];
  readonly user?: readonly string[];
  readonly price?: { readonly currency: string; readonly amountMicros: bigint };
  readonly mediaType?: string;
  readonly terms?: string;
  readonly validUntil?: Date;
}

const DEFAULT_TIMES = 1;
const DEFAULT_CATEGORY = "uncategorized";
const DEFAULT_EXPIRES_MS = 24 * 60 * 60 * 1000;

export function addOfferOptions(command: Command, { publishing }: { readonly publishing: boolean }): Command {
  const preset = (text: string) => (publishing ? ` (default: ${text})` : "");
  command
    .option("--times <n>", `accesses for each consumer${preset("1")}`, accessTimes)
    .option("--expires <time>", `end of the access permission, e.g. 24h, 30d or a date${preset("24h")}`, instant)
    .option("--read-only", "the plaintext may be shown, not exported");
  if (publishing) command.option("--no-permission", "share without an access permission, as Annex A.1 has it");
  else command.option("--no-read-only", "the plaintext may be exported");
  return command
    .option("--category <name>", `what kind of data it is${preset(DEFAULT_CATEGORY)}`)
    .option("--introduction <text>", "for people who search")
    .option("--usage <text>", "what it may be used for")
    .option("--keyword <word>", "to search by; may be repeated", collect)
    .option(
      "--industry <code>",
      "allow consumers of this industry only, as a code such as isic:j61; may be repeated",
      collectIndustry,
    )
    .option(
      "--country <code>",
      "allow consumers of this country only, ISO 3166-1 alpha-2 such as CH; may be repeated",
      collectCountry,
    )
    .option("--user <identity>", "allow this consumer only, urn:x1410:user:NAME; may be repeated", collectUser)
    .option("--price <price>", 'of an access, e.g. "EUR 1.50"', price)
    .option("--media-type <type>", "of the file (RFC 6838)", mediaTypeName)
    .option("--terms <text>", "terms in prose")
    .addOption(new Option("--valid-until <time>", "end of the policy").argParser(instant));
}

/** What to publish on these terms. */
export function offerOf(options: OfferOptions, mediaType: string): Offer {
  const { permission = true, times = DEFAULT_TIMES, readOnly = false } = options;
  const limits = [options.times, options.expires, options.readOnly].some((limit) => limit !== undefined);
  if (!permission && limits)
    throw new OfferOptionsError("--no-permission leaves nothing for --times, --expires and --read-only; drop either");
  const { expires = new Date(Date.now() + DEFAULT_EXPIRES_MS) } = options;
  // Nobody could use it for what it is longer good.
  if (permission && options.validUntil !== undefined && options.expires !== undefined && expires > options.validUntil)
    throw new OfferOptionsError(
      "--expires is after --valid-until, and the permission ends with its policy; give an earlier --expires",
    );
  const allowed = allowedOf(options);
  const policy = policyOf(options);
  return {
    attributes: { category: DEFAULT_CATEGORY, mediaType, ...attributesOf(options) },
    ...(allowed && { allowed }),
    ...(permission ? { permission: { accessTimes: times, expiration: expires, readOnly } } : {}),
    ...(policy && { policy }),
  };
}

/** What to change. @throws OfferOptionsError where nothing is */
export function changeOf(options: OfferOptions): PolicyChange {
  const attributes = attributesOf(options);
  const allowed = allowedOf(options);
  const policy = policyOf(options);
  const permission = {
    ...(options.times === undefined ? {} : { accessTimes: options.times }),
    ...(options.expires === undefined ? {} : { expiration: options.expires }),
    ...(options.readOnly === undefined ? {} : { readOnly: options.readOnly }),
  };
  const change = {
    ...(Object.keys(attributes).length > 0 && { attributes }),
    ...(allowed && { allowed }),
    ...(policy && { policy }),
    ...(Object.keys(permission).length > 0 && { permission }),
  };
  if (Object.keys(change).length === 0)
    throw new OfferOptionsError("nothing to change; `npx x1410 provider update --help` lists what can be");
  return change;
}

/** Options that do not go together; the message says which. */
export class OfferOptionsError extends Error {
  override name = "OfferOptionsError";
}

function attributesOf(options: OfferOptions): MessageInitShape<typeof DataAttributesSchema> {
  const { category, introduction, usage, keyword, price: amount, mediaType } = options;
  return {
    ...(category === undefined ? {} : { category }),
    ...(introduction === undefined ? {} : { introduction }),
    ...(usage === undefined ? {} : { usage }),
    ...(keyword === undefined ? {} : { keywords: [...keyword] }),
    ...(amount === undefined ? {} : { price: amount }),
    ...(mediaType === undefined ? {} : { mediaType }),
  };
}

function allowedOf({
  industry,
  country,
  user,
}: OfferOptions): MessageInitShape<typeof AllowedPartiesSchema> | undefined {
  if (industry === undefined && country === undefined && user === undefined) return undefined;
  return {
    ...(industry && { industries: [...industry] }),
    ...(country && { countries: [...country] }),
    ...(user && { users: [...user] }),
  };
}

function policyOf({ terms, validUntil }: OfferOptions): Offer["policy"] {
  if (terms === undefined && validUntil === undefined) return undefined;
  return {
    ...(terms === undefined ? {} : { terms }),
    ...(validUntil === undefined ? {} : { validUntil: timestampFromDate(validUntil) }),
  };
}

function accessTimes(text: string): number {
  const times = Number(text);
  if (!Number.isInteger(times) || times < 1 || times > 1_000_000)
    throw new InvalidArgumentError("give a whole number from 1 to 1000000.");
  return times;
}

function price(text: string): NonNullable<OfferOptions["price"]> {
  const [, currency, units = "", fraction = ""] = /^([A-Z]{3}) (\d{1,12})(?:\.(\d{1,6}))?$/.exec(text) ?? [];
  if (currency === undefined) throw new InvalidArgumentError('give a currency and an amount, e.g. "EUR 1.50".');
  return { currency, amountMicros: BigInt(units) * 1_000_000n + BigInt(fraction.padEnd(6, "0")) };
}

/** An option's argument: type and subtype, parameters after them (RFC 6838, 4.2; RFC 9110, 8.3.1). */
function mediaTypeName(text: string): string {
  const name = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}";
  if (!new RegExp(`^${name}/${name}(\\s*;.*)?$`).test(text))
    throw new InvalidArgumentError("give a media type, such as text/csv.");
  return text;
}
