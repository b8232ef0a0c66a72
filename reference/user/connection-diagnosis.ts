// Why a server that should answer does not: gRPC libraries say of every failure to connect that there is no connection. One handshake more
// tells a server that is away from one that is another, from one that this user does not trust, and from one that does not trust this user.
import { X509Certificate } from "node:crypto";
import { type ClientHttp2Session, connect } from "node:http2";
import { serverIdentityCheck } from "../communications/server-identity.ts";
import { secureContextOptions } from "../communications/tls-credentials.ts";
import { type Profile, tlsCredentials } from "./profile.ts";

const TIMEOUT_MS = 5_000;

/** The management cannot be used; the message says why and how to mend it. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
}

/** What keeps the user of a profile from its management. `path`: the profile file, for the message. */
export async function unreachable(path: string, profile: Profile, cause: unknown): Promise<UnreachableError> {
  return new UnreachableError(await reason(path, profile), { cause });
}

async function reason(path: string, profile: Profile): Promise<string> {
  const { managementEndpoint: endpoint, files } = profile;
  const { validTo } = new X509Certificate(profile.certificateChainPem);
  if (new Date(validTo).getTime() <= Date.now())
    return `the certificate in ${files.certificate} expired on ${new Date(validTo).toISOString()}; have the operator renew it`;
  const away = `cannot reach the management at ${endpoint}`;
  const otherwise = "start it, or name another --profile";
  const outcome = await handshake(profile);
  switch (outcome.what) {
    case "away":
      return `${away} (${outcome.why}); ${otherwise}`;
    case "stranger":
      return `the management at ${endpoint} is not the one that ${path} means: ${outcome.why}; correct its management.endpoint or identity`;
    case "untrusted":
      return `the certificate of the management at ${endpoint} is not trusted (${outcome.why}); trustAnchors and revocationLists of ${path} are of another network, or out of date`;
    case "refused":
      return `the management at ${endpoint} refuses the certificate in ${files.certificate} (${outcome.why}): it was revoked, or is of another network; have the operator renew it, or name another --profile`;
    case "answered":
      return `${away}: it answers and then drops the connection; try again, or name another --profile`;
  }
}

type Outcome =
  | { readonly what: "away" | "stranger" | "untrusted" | "refused"; readonly why: string }
  | { readonly what: "answered" };

function handshake(profile: Profile): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const isMeant = serverIdentityCheck(profile.managementIdentity);
  let stranger = "";
  let connected = false;
  let session: ClientHttp2Session | undefined;
  const failed = (why: string, code = "") => {
    if (stranger !== "") resolve({ what: "stranger", why: stranger });
    else if (connected) resolve({ what: "refused", why });
    else if (/^(UNABLE_|SELF_SIGNED|DEPTH_ZERO|CERT_|CRL_|INVALID_|ERR_TLS_CERT)/.test(code))
      resolve({ what: "untrusted", why });
    else resolve({ what: "away", why });
  };
  const timer = setTimeout(() => failed(`no answer within ${TIMEOUT_MS / 1_000} s`), TIMEOUT_MS);
  try {
    session = connect(`https://${profile.managementEndpoint}`, {
      ...secureContextOptions(tlsCredentials(profile)),
      checkServerIdentity(host, certificate) {
        const wrong = isMeant(host, certificate);
        stranger = wrong?.message ?? "";
        return wrong;
      },
    });
  } catch (cause) {
    failed(cause instanceof Error ? cause.message : String(cause));
  }
  // Under TLS 1.3 the client is done before the server has judged its certificate: the first frame shows that it was taken.
  session?.once("connect", () => {
    connected = true;
  });
  session?.once("remoteSettings", () => resolve({ what: "answered" }));
  session?.once("error", (cause: NodeJS.ErrnoException) => failed(cause.message, cause.code));
  session?.once("close", () => failed("it closed the connection"));
  return promise.finally(() => {
    clearTimeout(timer);
    session?.destroy();
  });
}
