// gRPC metadata and Connect's Headers: the same pairs, except that binary values (names ending in -bin) are base64 text in Headers.
import { Metadata } from "@grpc/grpc-js";

/** Names that belong to HTTP or gRPC themselves; an application cannot set them. */
const protocolName = /^(grpc-.*|:.*|content-type|te|host|connection|transfer-encoding|keep-alive|upgrade|user-agent)$/;

export function headersFromMetadata(metadata: Metadata): Headers {
  const headers = new Headers();
  const pairs = metadata.toJSON() as Record<string, (string | Buffer)[]>;
  for (const [name, values] of Object.entries(pairs)) {
    for (const value of values) {
      headers.append(name, typeof value === "string" ? value : value.toString("base64").replace(/=+$/, ""));
    }
  }
  return headers;
}

/** @throws Error where a value is not printable ASCII */
export function metadataFromHeaders(headers: Headers): Metadata {
  const metadata = new Metadata();
  addHeaders(metadata, headers);
  return metadata;
}

export function addHeaders(metadata: Metadata, headers: Headers): void {
  for (const [name, value] of headers) {
    if (protocolName.test(name)) continue;
    if (name.endsWith("-bin")) {
      for (const part of value.split(",")) metadata.add(name, Buffer.from(part.trim(), "base64"));
    } else {
      metadata.add(name, value);
    }
  }
}
