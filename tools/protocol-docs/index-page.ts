// The index: services, which method carries which step, which methods exercise which capability.
import type { DescMethod } from "@bufbuild/protobuf";
import { CAPABILITIES, STEPS, type Step } from "../../conformance/catalogue.ts";
import { link, page, table } from "./markdown.ts";
import type { Protocol } from "./protocol.ts";
import { tag } from "./type-section.ts";

const PROCEDURES = [
  ["F3", "Figure 3: a provider shares data with an access permission"],
  ["F4", "Figure 4: a consumer accesses data according to the requested permission"],
  ["A1", "Annex A.1: a provider publishes data"],
  ["A2", "Annex A.2: a consumer accesses data"],
] as const;

export function indexPage(protocol: Protocol): string {
  const methods = protocol.services.flatMap((service) => service.methods);
  const capabilities = CAPABILITIES.map(({ id, clause, what, owners }) => {
    const exercised = methods.filter((method) => protocol.method(method).capabilities.includes(id));
    return [id, owners.join(", "), what, clause, links(protocol, exercised)];
  });
  return page([
    "# The protocol x1410.v1",
    "Every interface and message of Recommendation ITU-T X.1410 as gRPC services, one for each component of a functional entity. " +
      "The pages are computed from the descriptors in [`proto/`](../../proto/x1410/v1). " +
      "`X.1410` marks what the Recommendation says, `Profile` what this project chose where it is silent.",
    "## Services",
    table(
      ["service", "entity", "component", "clause", "tag", "methods"],
      protocol.services.map((service) => {
        const { entity, component, clause, origin } = protocol.service(service);
        const head = [link(service.name, protocol.page(service)), entity, component, clause, tag(protocol, origin)];
        return [...head, links(protocol, service.methods)];
      }),
    ),
    `What they share: ${link("messages", "messages.md")}, ${link("errors", "errors.md")}.`,
    "## Steps and methods",
    ...PROCEDURES.flatMap(([id, title]) => [
      `### ${title}`,
      table(
        ["step", "from → to", "what happens", "status", "method"],
        STEPS.filter(({ procedure }) => procedure === id).map((step) => [
          step.id,
          step.arrow,
          step.what,
          step.status,
          carrier(protocol, step, methods),
        ]),
      ),
    ]),
    "## Capabilities and methods",
    "A capability without a method is exercised inside its owner, or by the connection itself.",
    table(["capability", "of", "what", "clause", "methods"], capabilities),
  ]);
}

function carrier(protocol: Protocol, step: Step, methods: readonly DescMethod[]): string {
  const carrying = methods.filter((method) => protocol.method(method).steps.includes(step.id));
  if (carrying.length > 0) return links(protocol, carrying);
  if (step.kind === "security") return "TLS handshake of the connection (AAC)";
  if (step.kind === "internal") return `performed inside ${step.from}`;
  throw new Error(`${step.id} crosses from ${step.from} to ${step.to}, and no method carries it`);
}

function links(protocol: Protocol, methods: readonly DescMethod[]): string {
  return methods.map((method) => link(method.name, protocol.page(method.parent), method.name)).join(", ");
}
