/**
 * Every way in which the PKI refuses, by a stable code. The text of an error may change, the code may not: the
 * certification authority's service maps codes to gRPC reasons, and tests assert codes.
 */
export const PKI_ERROR_MEANINGS = {
  // Requests for certificates (PKCS#10, RFC 2986)
  malformed_request: "the certification request is not one well-formed PKCS#10 structure",
  bad_proof_of_possession: "the request's signature does not verify under the key that it carries",
  ca_true_requested: "the request asks to become a certification authority",
  forbidden_extended_key_usage: "the request asks for an extended key usage outside its profile",
  foreign_subject_alt_name: "the request names a subject that was not granted to its sender",
  wildcard_subject_alt_name: "the request names a wildcard",
  unknown_profile: "no certificate profile exists for this role",
  invalid_identity: "the identity is not a URN of this protocol, or does not fit the role",
  invalid_host_name: "a host name cannot be granted",
  // Keys and algorithms
  weak_key: "the key is shorter than the policy allows",
  unsupported_key: "the key's algorithm is not on the list",
  malformed_key: "the key does not parse",
  weak_signature: "the signature uses a digest that is no longer safe",
  unsupported_algorithm: "the signature algorithm is not on the list",
  // Certificates and paths (RFC 5280 clause 6)
  malformed_certificate: "the certificate does not parse, or repeats an extension",
  unknown_issuer: "no path leads from the certificate to a trust anchor",
  bad_signature: "a signature on the path does not verify",
  expired: "a certificate on the path has expired",
  not_yet_valid: "a certificate on the path is not valid yet",
  not_a_ca: "an issuer on the path is not a certification authority",
  path_length_exceeded: "the path is longer than an issuer on it allows",
  unknown_critical_extension: "a certificate on the path has a critical extension that is not understood",
  unprocessed_constraint: "a certificate on the path has a constraint that is not processed here",
  wrong_key_usage: "a certificate on the path lacks the key usage that it needs",
  wrong_extended_key_usage: "a certificate on the path lacks the extended key usage required",
  ca_as_end_entity: "the certificate of an authority cannot act as a user or a server",
  no_identity: "the certificate has no subject alternative name of type URI",
  several_identities: "the certificate has more than one subject alternative name of type URI",
  // Revocation
  revoked: "a certificate on the path is revoked",
  crl_missing: "an issuer on the path has no usable certificate revocation list",
  crl_stale: "an issuer's certificate revocation list is out of date",
  malformed_crl: "the certificate revocation list does not parse",
  unknown_certificate: "this authority did not issue that certificate",
  already_revoked: "that certificate is revoked already",
  nothing_selected: "it must be said which certificate, in one way",
  unknown_reason: "the revocation reason is not one of RFC 5280 clause 5.3.1",
  // Authority and storage
  authority_expired: "the authority's own certificate is outside its validity",
  path_length_forbids_authority: "the authority's path length allows no further authority below it",
  corrupt_store: "the authority's directory is damaged",
  storage_failed: "a file cannot be read or written",
  no_pki: "there is no PKI in that directory",
  would_overwrite: "what exists already would be overwritten",
} as const;

/** Closed set of refusal codes. */
export type PkiErrorCode = keyof typeof PKI_ERROR_MEANINGS;

/** A refusal by the PKI. `code` is stable; the message adds the particulars and never holds key material. */
export class PkiError extends Error {
  readonly code: PkiErrorCode;

  constructor(code: PkiErrorCode, particulars?: string, options?: ErrorOptions) {
    super(
      particulars === undefined ? PKI_ERROR_MEANINGS[code] : `${PKI_ERROR_MEANINGS[code]}: ${particulars}`,
      options,
    );
    this.name = "PkiError";
    this.code = code;
  }
}
