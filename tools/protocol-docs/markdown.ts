// The few forms of GitHub's Markdown that the pages consist of.

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

/** Inside a table every bar needs a backslash, in code as well, and a line break ends the row. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n\n", "<br>").replaceAll("\n", " ");
}

export function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** Prose of a comment: what HTML would take for a tag stays visible. */
export function prose(text: string): string {
  return text.replaceAll("<", "&lt;");
}

export function link(text: string, page: string, heading?: string): string {
  return `[${text}](${page}${heading === undefined ? "" : `#${anchor(heading)}`})`;
}

/** The anchor that GitHub gives to a heading. */
export function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

/** Blocks become a page: one blank line between them. */
export function page(blocks: readonly string[]): string {
  const notice = "<!-- Generated from proto/ by tools/protoc-gen-docs.ts. Do not edit: run `npm run generate`. -->";
  return `${[notice, ...blocks].filter((block) => block !== "").join("\n\n")}\n`;
}
