// Where the made-up subscribers come from: frequent names, mobile ranges of the numbering plans, plans, complaints.

export interface Country {
  /** ISO 3166-1 alpha-2. */
  readonly code: string;
  readonly callingCode: string;
  /** Beginnings of national mobile numbers, and how many digits follow. */
  readonly mobilePrefixes: readonly string[];
  readonly mobileDigits: number;
  /** 9 stands for a digit. */
  readonly postalCode: string;
  readonly familyNameFirst?: true;
  readonly givenNames: readonly string[];
  readonly familyNames: readonly string[];
}

export const COUNTRIES: readonly Country[] = [
  {
    code: "DE",
    callingCode: "49",
    mobilePrefixes: ["1511", "1520", "1701"],
    mobileDigits: 7,
    postalCode: "69999",
    givenNames: ["Jürgen", "Annika", "Friedrich", "Sabine", "Moritz"],
    familyNames: ["Schäfer", "Brandt", "von Hohenfels", "Krüger", "Zimmermann"],
  },
  {
    code: "FR",
    callingCode: "33",
    mobilePrefixes: ["612", "623", "678"],
    mobileDigits: 6,
    postalCode: "69999",
    givenNames: ["Élodie", "Jean-Luc", "Aurélie", "Thibault", "Margaux"],
    familyNames: ["Lefèvre", "d'Aubigny", "Moreau", "Fournier", "Girard"],
  },
  {
    code: "GB",
    callingCode: "44",
    mobilePrefixes: ["7400", "7456", "7525"],
    mobileDigits: 6,
    postalCode: "SW9 9XY",
    givenNames: ["Oliver", "Charlotte", "Rhys", "Imogen", "Alasdair"],
    familyNames: ["Blackwood", "O'Connor", "Whitfield", "Pemberton", "Featherstone-Hale"],
  },
  {
    code: "JP",
    callingCode: "81",
    mobilePrefixes: ["9012", "8034", "9056"],
    mobileDigits: 6,
    postalCode: "199-9999",
    familyNameFirst: true,
    givenNames: ["Haruto", "Sakura", "Kenji", "Yumiko", "Takumi"],
    familyNames: ["Tanaka", "Watanabe", "Kobayashi", "Nakamura", "Yoshida"],
  },
  {
    code: "KR",
    callingCode: "82",
    mobilePrefixes: ["1023", "1045", "1067"],
    mobileDigits: 6,
    postalCode: "09999",
    familyNameFirst: true,
    givenNames: ["Minjun", "Seoyeon", "Jihoon", "Hayoon", "Dohyun"],
    familyNames: ["Hwang", "Seo", "Jeong", "Kwon", "Bae"],
  },
  {
    code: "IN",
    callingCode: "91",
    mobilePrefixes: ["9810", "9820", "9845"],
    mobileDigits: 6,
    postalCode: "119999",
    givenNames: ["Aarav", "Priyanka", "Vikram", "Lakshmi", "Rohan"],
    familyNames: ["Chatterjee", "Venkataraman", "Deshpande", "Kulkarni", "Mehrotra"],
  },
  {
    code: "BR",
    callingCode: "55",
    mobilePrefixes: ["11987", "21996", "31988"],
    mobileDigits: 6,
    postalCode: "19999-999",
    givenNames: ["João", "Beatriz", "Thiago", "Larissa", "Gonçalo"],
    familyNames: ["Albuquerque", "Nogueira", "da Conceição", "Vasconcelos", "Teixeira"],
  },
];

/** Issuers' identification numbers, as payment networks give them in their test cards. */
export const CARD_PREFIXES: readonly string[] = ["400000", "411111", "424242", "510510", "520082", "555555"];

export const PLANS: readonly string[] = [
  "Prepaid S",
  "Prepaid M",
  "Home 5G",
  "Family, 4 lines",
  'Business "Plus"',
  "IoT 10",
];

export const COMPLAINTS: readonly string[] = [
  "No coverage in the basement since ticket 20231",
  "Invoice 4711 was sent twice",
  "Asks for 2 more GB, promised on 12.03.",
  "Roaming stayed off after landing, fixed by restart",
  "Wants to change the tariff, offer expires in 14 days",
  "Router replaced, speed now 250 Mbit/s",
  "SIM swap refused: document not readable",
];
