// ConnectError and gRPC status, with google.rpc.Status details (grpc-status-details-bin), so that clients of either stack read the same.
import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { addHeaders, headersFromMetadata } from "./grpc-metadata.ts";

const detailsName = "grpc-status-details-bin";
/** Peers limit a header block to 8 KiB or so; a longer text would lose the whole status. */
const maxTextLength = 1024;

export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

export function statusFromError(error: ConnectError, trailer: Headers | undefined): GrpcStatus {
  const metadata = new Metadata();
  if (trailer !== undefined) addHeaders(metadata, trailer);
  const pairs = setTrailerStatus(new Headers(), sendable(error));
  const details = pairs.get(detailsName);
  addHeaders(metadata, pairs);
  if (details !== null) metadata.set(detailsName, Buffer.from(details, "base64"));
  return { code: error.code, details: sendable(error).rawMessage, metadata };
}

/** Lone surrogates have no percent-encoding: neither stack could send them. */
function sendable(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, details } = error;
  if (rawMessage.length <= maxTextLength && rawMessage.isWellFormed()) return error;
  const text = rawMessage.slice(0, maxTextLength).toWellFormed();
  const replacement = new ConnectError(text, code, metadata);
  replacement.details = details;
  return replacement;
}

export function errorFromStatus({
  code,
  details,
  metadata,
}: Pick<ServiceError, "code" | "details" | "metadata">): ConnectError {
  const trailer = metadata === undefined ? new Headers() : headersFromMetadata(metadata);
  if (trailer.has(detailsName)) {
    try {
      const detailed = findTrailerError(trailer);
      // The details repeat the code; where they contradict the status line, the status line counts.
      if (detailed !== undefined && Number(detailed.code) === Number(code)) return detailed;
    } catch {
      // Details that do not parse are as good as none.
    }
    trailer.delete(detailsName);
  }
  trailer.set("grpc-status", String(code));
  trailer.set("grpc-message", encodeURIComponent(details.toWellFormed()));
  return findTrailerError(trailer) ?? new ConnectError(details, Code.Unknown);
}
