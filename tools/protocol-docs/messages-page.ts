// The page of the messages and enums that several services share.
import { link, page, table } from "./markdown.ts";
import type { Protocol } from "./protocol.ts";
import { typeSection } from "./type-section.ts";

export function messagesPage(protocol: Protocol): string {
  const sources = [...new Set(protocol.shared.map(({ file }) => file))];
  const of = (file: (typeof sources)[number]) => protocol.shared.filter((desc) => desc.file === file);
  return page([
    "# Shared messages",
    table(
      ["source", "messages and enums"],
      sources.map((file) => [
        link(`\`${file.proto.name}\``, `../../proto/${file.proto.name}`),
        of(file)
          .map(({ name }) => link(name, "", name))
          .join(", "),
      ]),
    ),
    ...protocol.shared.flatMap((desc) => typeSection(protocol, desc, "messages.md", "##")),
  ]);
}
