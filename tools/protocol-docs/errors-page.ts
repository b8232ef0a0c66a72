// The page of all reasons that a refusal gives.
import type { DescEnumValue } from "@bufbuild/protobuf";
import { code, link, page, prose, table } from "./markdown.ts";
import { comment, type Protocol, present } from "./protocol.ts";
import { typeSection } from "./type-section.ts";

export function errorsPage(protocol: Protocol): string {
  const everywhere = protocol.reasons.filter((reason) => protocol.error(reason).everyMethod);
  const some = protocol.reasons.filter((reason) => !protocol.error(reason).everyMethod);
  const enumeration = present(protocol.reasons[0], "ErrorReason").parent;
  return page([
    "# Errors",
    "Every refusal carries the canonical gRPC code of its reason and one detail of this type. Programs decide by code and reason, never by text. " +
      "A code that a gRPC library generates itself carries no detail.",
    ...typeSection(protocol, protocol.errorDetail, "errors.md", "##"),
    "## ErrorReason",
    prose(comment(enumeration)),
    "## Reasons that every method gives",
    overview(protocol, everywhere),
    "## Reasons of some methods",
    overview(protocol, some),
    "## Each reason",
    ...protocol.reasons.flatMap((reason) => section(protocol, reason)),
  ]);
}

function overview(protocol: Protocol, reasons: readonly DescEnumValue[]): string {
  const rows = reasons.map((reason) => {
    const requirement = protocol.error(reason);
    const name = short(reason);
    return [link(code(name), "", name), code(protocol.constant("CanonicalCode", requirement.code)), requirement.when];
  });
  return table(["reason", "code", "when"], rows);
}

function section(protocol: Protocol, reason: DescEnumValue): string[] {
  const { code: status, when, recovery, clause, everyMethod } = protocol.error(reason);
  const given = protocol.services
    .flatMap((service) => service.methods)
    .filter((method) => protocol.method(method).errors.some((given) => given === reason.number))
    .map((method) => link(method.name, protocol.page(method.parent), method.name));
  return [
    `### ${short(reason)}`,
    table(
      ["", ""],
      [
        ["Value", `${code(reason.name)} = ${reason.number}`],
        ["Code", code(protocol.constant("CanonicalCode", status))],
        ["When", when],
        ["Recovery", recovery],
        ["Clause", clause],
        ["Given by", everyMethod ? "every method" : given.join(", ")],
      ],
    ),
  ];
}

function short(reason: DescEnumValue): string {
  return reason.name.replace("ERROR_REASON_", "");
}
