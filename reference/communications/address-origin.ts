// Whom an address stands for, where nothing else tells strangers apart.
import { isIPv6 } from "node:net";

/** A host has a whole /64 of IPv6 at its disposal (RFC 4291, 2.5.4), but one IPv4 address, also where that is written in IPv6. */
export function originOf(address = ""): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail] = (address.split("%")[0] ?? "").split("::").map((part) => part.split(":").filter(Boolean));
  const rest = tail ?? [];
  const groups = [...head, ...Array<string>(Math.max(0, 8 - head.length - rest.length)).fill("0"), ...rest];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
