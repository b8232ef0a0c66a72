// What gets signed (P7, C4): DSSE's pre-authentication encoding, so that bytes signed as one type never pass as another.

const SPACE = " ";

/** "DSSEv1" SP LEN(payloadType) SP payloadType SP LEN(payload) SP payload; lengths in bytes, ASCII decimal. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType);
  const head = `DSSEv1${SPACE}${type.length}${SPACE}${payloadType}${SPACE}${payload.length}${SPACE}`;
  return Buffer.concat([Buffer.from(head), payload]);
}
