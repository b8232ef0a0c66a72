// How a long procedure tells what it is doing.

/** `step` is the step of the procedure; `underWay` marks news that the next one replaces, such as bytes sent so far. */
export type Progress = (step: string, text: string, underWay?: boolean) => void;

export const noProgress: Progress = () => {};

/** One line for each step on standard error; on a terminal, what is under way is shown in place. */
export function progressOn(stream: NodeJS.WriteStream): Progress {
  let shown = 0;
  return (step, text, underWay = false) => {
    if (underWay && !stream.isTTY) return;
    const now = Date.now();
    if (underWay && now - shown < 100) return;
    shown = underWay ? now : 0;
    const clear = stream.isTTY ? "\r\u001b[K" : "";
    stream.write(`${clear}${step.padEnd(8)}${text}${underWay ? "" : "\n"}`);
  };
}

/** What happens without an access permission, by the steps of Annex A instead of those of Figures 3 and 4. */
export function inAnnexA(seen: Progress): Progress {
  return (step, text, underWay) => seen(ANNEX_STEPS[step] ?? step, text, underWay);
}

const ANNEX_STEPS: Readonly<Record<string, string>> = {
  "F3.1": "A1.1",
  "F3.2.2": "A1.2.2",
  "F3.2.4": "A1.2.4",
  "F3.3.5": "A1.3",
  "F3.5": "A1.5",
  "F3.7.2": "A1.7.1",
  "F3.7.4": "A1.7.2",
  "F3.9.1": "A1.9.1",
  "F4.1": "A2.1",
  "F4.11": "A2.8",
  "F4.14": "A2.12",
  "F4.17": "A2.15",
  "F4.18": "A2.16",
};
