// Text of several lines in one, as a terminal's single line takes it.
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
