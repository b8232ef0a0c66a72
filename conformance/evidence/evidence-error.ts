// Why evidence is not believed, or not made.

/** By stable code; the message adds the particulars. */
export const evidenceErrorMeanings = {
  seal_malformed: "the seal is not a CMS SignedData of this kit's form",
  seal_broken: "the seal's signature does not fit its content",
  signer_untrusted: "the signer's certificate is not trusted",
  time_implausible: "the seal's time does not fit",
  part_missing: "a part of the evidence is missing",
  part_altered: "a part of the evidence is not what was sealed",
  manifest_altered: "the seal covers something else than these parts",
  report_invalid: "the report is not one",
  report_inconsistent: "the report does not follow from its own results",
  statement_mismatch: "a statement is not the one that the report was made with",
  other_suite: "the report was made with another version of the suite",
  not_conformant: "the report does not say conformant",
} as const;

export type EvidenceErrorCode = keyof typeof evidenceErrorMeanings;

export class EvidenceError extends Error {
  override name = "EvidenceError";
  readonly code: EvidenceErrorCode;

  constructor(code: EvidenceErrorCode, particulars: string, options?: ErrorOptions) {
    super(`${evidenceErrorMeanings[code]}: ${particulars}`, options);
    this.code = code;
  }
}
