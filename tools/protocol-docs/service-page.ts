// The page of one service: what it is, its methods with their messages and errors, and the further messages of its file.
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { COMPONENTS, STEPS } from "../../conformance/catalogue.ts";
import { code, link, page, prose, table } from "./markdown.ts";
import { comment, type Protocol, present } from "./protocol.ts";
import { tag, typeLink, typeSection } from "./type-section.ts";

export function servicePage(protocol: Protocol, service: DescService): string {
  const onPage = protocol.page(service);
  const { entity, component, clause, origin, status } = protocol.service(service);
  const asked = new Set(service.methods.flatMap(({ input, output }) => [input.typeName, output.typeName]));
  const further = protocol.own(service).filter(({ typeName }) => !asked.has(typeName));
  return page([
    `# ${service.name}`,
    prose(comment(service)),
    table(
      ["", ""],
      [
        ["Entity", entity],
        ["Component", componentName(entity, component)],
        ["Clause", clause],
        ["Status", `${protocol.word("Status", status)}, ${tag(protocol, origin)}`],
        ["Full name", code(service.typeName)],
        ["Source", link(code(service.file.proto.name), `../../proto/${service.file.proto.name}`)],
      ],
    ),
    table(
      ["method", "steps", "answers"],
      service.methods.map((method) => [
        link(method.name, "", method.name),
        protocol.method(method).steps.join(", "),
        callers(protocol, method),
      ]),
    ),
    ...service.methods.flatMap((method) => methodSection(protocol, method, onPage)),
    ...(further.length === 0 ? [] : ["## Further messages"]),
    ...further.flatMap((desc) => typeSection(protocol, desc, onPage, "###")),
    `${link("All of the protocol", "README.md")} · ${link("Shared messages", "messages.md")} · ${link("Errors", "errors.md")}`,
  ]);
}

function methodSection(protocol: Protocol, method: DescMethod, onPage: string): string[] {
  const { clause, steps, capabilities, origin, status, session } = protocol.method(method);
  return [
    `## ${method.name}`,
    `${code("rpc")} ${method.name}(${side(protocol, method, "input", onPage)}) → ${side(protocol, method, "output", onPage)}`,
    prose(comment(method)),
    table(
      ["", ""],
      [
        ["Steps", steps.map(stepWords).join("\n\n")],
        ["Capabilities", capabilities.join(", ")],
        ["Clause", clause],
        ["Status", `${protocol.word("Status", status)}, ${tag(protocol, origin)}`],
        ["Answers", callers(protocol, method)],
        ["Session", session ? `needed, in the metadata key ${code("x1410-session")}` : "not needed"],
      ].filter(([, text]) => text !== ""),
    ),
    ...typeSection(protocol, method.input, onPage, "###"),
    ...typeSection(protocol, method.output, onPage, "###"),
    ...errors(protocol, method),
  ];
}

function errors(protocol: Protocol, method: DescMethod): string[] {
  const reasons = protocol.method(method).errors;
  const always = `the ${link("reasons of every method", "errors.md", "Reasons that every method gives")}`;
  if (reasons.length === 0) return [`Errors: ${always}.`];
  const rows = reasons.map((number) => {
    const name = `ERROR_REASON_${protocol.constant("ErrorReason", number)}`;
    const value = present(
      protocol.reasons.find((each) => each.number === number),
      name,
    );
    const { when, code: status, recovery } = protocol.error(value);
    return [when, code(protocol.constant("CanonicalCode", status)), reasonLink(name), recovery];
  });
  return [`Errors, besides ${always}:`, table(["condition", "code", "reason", "recovery"], rows)];
}

function reasonLink(name: string): string {
  const short = name.replace("ERROR_REASON_", "");
  return link(code(short), "errors.md", short);
}

function side(protocol: Protocol, method: DescMethod, which: "input" | "output", onPage: string): string {
  const streamed: Record<"input" | "output", readonly string[]> = {
    input: ["client_streaming", "bidi_streaming"],
    output: ["server_streaming", "bidi_streaming"],
  };
  const name = typeLink(protocol, method[which], onPage);
  return streamed[which].includes(method.methodKind) ? `stream of ${name}` : name;
}

function callers(protocol: Protocol, method: DescMethod): string {
  return protocol
    .method(method)
    .callers.map((caller) => protocol.word("Caller", caller).replace(/^(dssm|kss|dss)$/, (kind) => kind.toUpperCase()))
    .join(", ");
}

function stepWords(id: string): string {
  const step = STEPS.find((each) => each.id === id);
  const { arrow, what } = present(step, `step ${id}`);
  return `${id} ${arrow}: ${what}`;
}

function componentName(entity: string, component: string): string {
  const known = COMPONENTS.find((each) => each.entity === entity && each.id === component);
  return known === undefined ? component : `${component}, ${known.name}`;
}
