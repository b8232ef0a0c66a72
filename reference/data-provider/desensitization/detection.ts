// Personal data inside free text: card numbers, e-mail addresses, phone numbers, and names known from the same record.
import { type CountryCode, findPhoneNumbersInText } from "libphonenumber-js";

/** The characters [start, end) of a text. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Card numbers: 13 to 19 digits by ISO/IEC 7812 with a right Luhn digit, in groups that one blank, dot or hyphen parts. */
export function cardNumbers(text: string): Span[] {
  const found: Span[] = [];
  for (const { 0: run, index } of text.matchAll(/\d(?:[ .\u00a0-]?\d){12,}/g)) {
    const places = [...run.matchAll(/\d/g)].map((digit) => digit.index);
    let first = 0;
    while (first + 13 <= places.length) {
      const last = startsGroup(places, first) ? cardEnd(run, places, first) : undefined;
      if (last === undefined) first += 1;
      else {
        found.push({ start: index + (places[first] ?? 0), end: index + (places[last] ?? 0) + 1 });
        first = last + 1;
      }
    }
  }
  return found;
}

function startsGroup(places: readonly number[], digit: number): boolean {
  return digit === 0 || (places[digit] ?? 0) - (places[digit - 1] ?? 0) > 1;
}

function cardEnd(run: string, places: readonly number[], first: number): number | undefined {
  // Major industry identifiers 2 to 6 are those of payment cards; 89, telecommunications, begins an ICCID.
  if (!/[2-6]/.test(run[places[first] ?? 0] ?? "")) return undefined;
  for (let count = 19; count >= 13; count--) {
    const last = first + count - 1;
    if (last >= places.length || (last + 1 < places.length && !startsGroup(places, last + 1))) continue;
    if (luhn(places.slice(first, last + 1).map((place) => Number(run[place])))) return last;
  }
  return undefined;
}

/** The check digit of ISO/IEC 7812-1 annex B. */
export function luhn(digits: readonly number[]): boolean {
  const sum = digits.reduceRight((total, digit, index) => {
    const doubled = (digits.length - 1 - index) % 2 === 1 ? digit * 2 : digit;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

const LOCAL_PART = /[\p{L}\p{M}\p{N}.!#$%&'*+/=?^_`{|}~-]/u;
const DOMAIN = /[\p{L}\p{M}\p{N}.-]/u;
const DOTTED = /[\p{L}\p{N}]\.[\p{L}\p{N}-]*\p{L}[\p{L}\p{M}\p{N}-]*$/u;

/** E-mail addresses: a run of local-part characters, "@", and a name with a dot. Takes time linear in the text. */
export function emailAddresses(text: string): Span[] {
  const found: Span[] = [];
  let floor = 0;
  for (let at = text.indexOf("@"); at !== -1; at = text.indexOf("@", at + 1)) {
    let start = at;
    while (start > floor && LOCAL_PART.test(text[start - 1] ?? "")) start -= 1;
    let end = at + 1;
    while (end < text.length && DOMAIN.test(text[end] ?? "")) end += 1;
    while (end > at + 1 && /[.-]/.test(text[end - 1] ?? "")) end -= 1;
    if (start < at && DOTTED.test(text.slice(Math.max(at + 1, end - 80), end))) found.push({ start, end });
    floor = at + 1;
  }
  return found;
}

// E.164: a plus sign and up to 15 digits, whether or not the range is assigned; fullwidth forms too.
const INTERNATIONAL =
  /[+\uff0b][\s(]{0,2}[\d\uff10-\uff19](?:[ ().\u00a0/-]{0,3}[\d\uff10-\uff19]){6,14}(?![\d\uff10-\uff19])/g;

// No national number that the library knows is shorter.
const PHONE_DIGITS_MIN = 6;

/**
 * Phone numbers in international form and, where a country is given, in its national form. Card numbers are none.
 */
export function phoneNumbers(text: string, country?: CountryCode): Span[] {
  const international = [...text.matchAll(INTERNATIONAL)].map(({ 0: number, index }) => ({
    start: index,
    end: index + number.length,
  }));
  // Without a country, a number is known by its plus sign alone.
  if (country === undefined) return international;
  // The library's search is the costliest step of all: it gets only what is not known already.
  const rest = blanked(blanked(text, international), cardNumbers(text));
  if (!hasDigits(rest, PHONE_DIGITS_MIN)) return international;
  const numbers = findPhoneNumbersInText(rest, { defaultCountry: country });
  return [...international, ...numbers.map(({ startsAt, endsAt }) => ({ start: startsAt, end: endsAt }))];
}

function hasDigits(text: string, count: number): boolean {
  let digits = 0;
  for (let at = 0; at < text.length && digits < count; at++) {
    const code = text.charCodeAt(at);
    // Letters beyond ASCII have digits of their own, which the library reads.
    if ((code >= 48 && code <= 57) || code > 0x5ff) digits += 1;
  }
  return digits >= count;
}

function blanked(text: string, spans: readonly Span[]): string {
  return spans.reduce((rest, { start, end }) => rest.slice(0, start) + " ".repeat(end - start) + rest.slice(end), text);
}

const WORD = /[\p{L}\p{M}\p{N}]+/gu;

/**
 * Where these names stand in the text, whole or in part, whatever their case; neighbouring words of names are one find.
 * Particles (von, de) and initials count only beside another word of a name.
 */
export function namesInText(text: string, names: readonly string[]): Span[] {
  const words = names.flatMap((name) => name.match(WORD) ?? []);
  const capitalized = words.filter((word) => word.length > 1 && !/^\p{Ll}/u.test(word));
  const strong = lowerCased(capitalized.length > 0 ? capitalized : words.filter((word) => word.length > 1));
  const lowerText = text.toLowerCase();
  if (![...strong].some((word) => lowerText.includes(word))) return [];
  const any = lowerCased(words);
  const found: (Span & { strong: boolean })[] = [];
  for (const { 0: match, index } of text.matchAll(WORD)) {
    const word = match.toLowerCase();
    if (!any.has(word)) continue;
    const end = index + match.length;
    const before = found.at(-1);
    const gap = before === undefined ? "" : text.slice(before.end, index);
    const joined = /^['’-]$/.test(gap) || (before?.strong === true && /^[ ,.]{1,2}$/.test(gap));
    if (before !== undefined && joined) {
      found[found.length - 1] = { start: before.start, end, strong: before.strong || strong.has(word) };
    } else found.push({ start: index, end, strong: strong.has(word) });
  }
  return found.filter((span) => span.strong);
}

function lowerCased(words: readonly string[]): Set<string> {
  return new Set(words.map((word) => word.toLowerCase()));
}
