// The raw data of a replay (F3.1, A1.1): records of telecommunication subscribers, made from a seed, so that two runs have
// the same; nobody in them exists. With them the rules that desensitize them and the list of what may then be nowhere.
import { createHash } from "node:crypto";
import { parse } from "csv-parse/sync";
import type { DesensitizationRules } from "../../reference/data-provider/desensitization/rules.ts";
import { CARD_PREFIXES, COMPLAINTS, COUNTRIES, type Country, PLANS } from "./subscriber-population.ts";

export const SUBSCRIBER_COLUMNS = [
  "subscriber_id",
  "full_name",
  "msisdn",
  "email",
  "card_number",
  "date_of_birth",
  "postal_code",
  "country",
  "plan",
  "monthly_usage_mb",
  "roaming",
  "support_note",
] as const;

type Subscriber = Record<(typeof SUBSCRIBER_COLUMNS)[number], string>;

/** What a provider would do with these records before it shares them. Country, plan and roaming stay as they are. */
export const subscriberRules: DesensitizationRules = {
  version: 1,
  rules: [
    { columns: ["full_name", "card_number"], action: "drop" },
    { columns: ["subscriber_id"], action: "pseudonymize", prefix: "sub-" },
    { columns: ["email"], action: "pseudonymize", length: 24 },
    { columns: ["msisdn"], action: "mask", keepFirst: 4 },
    { columns: ["date_of_birth"], action: "generalize", date: "year" },
    { columns: ["postal_code"], action: "generalize", prefix: 2 },
    { columns: ["monthly_usage_mb"], action: "generalize", bounds: [0, 1000, 5000, 20_000, 100_000] },
    {
      columns: ["support_note"],
      detect: [
        { kind: "card", action: "mask" },
        { kind: "email", action: "drop" },
        { kind: "phone", action: "drop" },
        { kind: "name", columns: ["full_name"], action: "drop" },
      ],
    },
  ],
};

/**
 * CSV (RFC 4180, CRLF) of at least `bytes` bytes and at most one record more, the same for the same seed. Every
 * fourth record's note mentions the subscriber's own number, address, card or name; some notes have commas, quotes and
 * line breaks.
 */
export function subscriberRecords(options: { readonly seed: string; readonly bytes: number }): Uint8Array {
  const random = new Random(options.seed);
  const lines = [`${SUBSCRIBER_COLUMNS.join(",")}\r\n`];
  let length = lines[0]?.length ?? 0;
  for (let number = 1; length < options.bytes; number++) {
    const record = subscriber(number, random);
    const line = `${SUBSCRIBER_COLUMNS.map((column) => quoted(record[column])).join(",")}\r\n`;
    lines.push(line);
    length += Buffer.byteLength(line);
  }
  return Buffer.from(lines.join(""));
}

/**
 * Every value in `records` that identifies somebody, in each spelling in which it occurs: names, subscriber ids, phone
 * numbers, addresses, card numbers. Short values such as postal codes are left out: they occur everywhere.
 */
export function canaries(records: Uint8Array): string[] {
  const found = new Set<string>();
  for (const record of parse(Buffer.from(records), { columns: true }) as Subscriber[]) {
    const { subscriber_id, full_name, msisdn, email, card_number, support_note } = record;
    for (const value of [subscriber_id, full_name, msisdn, email, card_number]) found.add(value);
    for (const spelling of [...phoneSpellings(msisdn), ...cardSpellings(card_number)])
      if (support_note.includes(spelling)) found.add(spelling);
  }
  return [...found];
}

function subscriber(number: number, random: Random): Subscriber {
  const country = random.pick(COUNTRIES);
  const first = random.pick(country.givenNames);
  const last = random.pick(country.familyNames);
  const msisdn = `+${country.callingCode}${random.pick(country.mobilePrefixes)}${random.digits(country.mobileDigits)}`;
  // The number keeps addresses apart.
  const email = `${latin(first)}.${latin(last)}${number}@${random.pick(["example.com", "example.net", "mail.example.org"])}`;
  const card = cardNumber(random);
  const usage = Math.floor(10 ** (1 + random.unit() * 4.3));
  return {
    subscriber_id: `S${random.digits(4)}${String(number).padStart(8, "0")}`,
    full_name: country.familyNameFirst ? `${last}, ${first}` : `${first} ${last}`,
    msisdn,
    email,
    card_number: card,
    date_of_birth: `${1940 + random.below(67)}-${twoDigits(1 + random.below(12))}-${twoDigits(1 + random.below(28))}`,
    postal_code: country.postalCode.replace(/9/g, () => random.digits(1)),
    country: country.code,
    plan: random.pick(PLANS),
    monthly_usage_mb: random.below(3) === 0 ? (usage + 0.5).toFixed(1) : String(usage),
    roaming: random.below(5) === 0 ? "yes" : "no",
    support_note: note(random, { first, last, msisdn, email, card }),
  };
}

interface Contact {
  readonly first: string;
  readonly last: string;
  readonly msisdn: string;
  readonly email: string;
  readonly card: string;
}

function note(random: Random, { first, last, msisdn, email, card }: Contact): string {
  if (random.below(3) === 0) return "";
  const complaint = random.pick(COMPLAINTS);
  switch (random.below(12)) {
    case 0:
      return `${complaint}; please call back on ${random.pick(phoneSpellings(msisdn))} after 18:00`;
    case 1:
      return `${complaint}, customer says "${random.pick(cardSpellings(card))} was charged twice"`;
    case 2:
      return `${complaint}.\nConfirmation goes to ${email}.`;
    case 3:
      return `${complaint}: ${random.pick([`${first} ${last}`, `Mr or Ms ${last}`, first])} wants an answer in writing,\r\nno calls`;
    default:
      return complaint;
  }
}

/** Visa and Mastercard lengths and prefixes, with a right check digit (ISO/IEC 7812-1 annex B). */
function cardNumber(random: Random): string {
  const payload = random.pick(CARD_PREFIXES) + random.digits(9);
  const sum = [...payload].reverse().reduce((total, character, index) => {
    const digit = Number(character) * (index % 2 === 0 ? 2 : 1);
    return total + (digit > 9 ? digit - 9 : digit);
  }, 0);
  return payload + String((10 - (sum % 10)) % 10);
}

function phoneSpellings(msisdn: string): string[] {
  const { callingCode } = countryOf(msisdn);
  const national = msisdn.slice(1 + callingCode.length);
  return [msisdn, `+${callingCode} ${national}`, `+${callingCode} ${national.slice(0, 3)} ${national.slice(3)}`];
}

function cardSpellings(card: string): string[] {
  const groups = card.match(/.{4}/g) ?? [];
  return [card, groups.join(" "), groups.join("-")];
}

function countryOf(msisdn: string): Country {
  const country = COUNTRIES.find(({ callingCode }) => msisdn.startsWith(`+${callingCode}`));
  if (country === undefined) throw new RangeError("a phone number of no country of this population");
  return country;
}

/** Letters of a name as a mail address has them. */
function latin(name: string): string {
  return name
    .normalize("NFD")
    .replace(/[^A-Za-z]/g, "")
    .toLowerCase();
}

function quoted(value: string): string {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

/** xorshift128 (Marsaglia), begun from the seed's SHA-256: the same numbers everywhere. Not for secrets. */
class Random {
  readonly #state: Uint32Array;

  constructor(seed: string) {
    const digest = createHash("sha256").update(seed).digest();
    this.#state = Uint32Array.from([0, 4, 8, 12], (offset) => digest.readUInt32BE(offset));
  }

  next(): number {
    const [x = 0, y = 0, z = 0, w = 0] = this.#state;
    const t = x ^ (x << 11);
    this.#state.set([y, z, w, w ^ (w >>> 19) ^ t ^ (t >>> 8)]);
    return this.#state[3] ?? 0;
  }

  /** From 0 up to, without, 1. */
  unit(): number {
    return this.next() / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  digits(count: number): string {
    let digits = "";
    while (digits.length < count) digits += String(this.below(10));
    return digits;
  }
}
