// The files that a run writes beside the console, all of the one report.
import { writeFile } from "node:fs/promises";
import { junitXml } from "./junit.ts";
import { htmlReport } from "./page/page.ts";
import type { Report } from "./report.ts";
import { reportJson } from "./report-json.ts";

const formats = { json: reportJson, junit: junitXml, html: htmlReport } as const;

/** Paths by format. */
export type ReportFiles = { readonly [format in keyof typeof formats]?: string };

const wanted = (files: ReportFiles) =>
  (Object.keys(formats) as (keyof typeof formats)[]).flatMap((format) => {
    const path = files[format];
    return path === undefined ? [] : [{ format, path }];
  });

/**
 * Hours may pass until reports are written: a folder that is not there is told of before.
 * @throws Error that names the option
 */
export async function prepareReportFiles(files: ReportFiles): Promise<void> {
  for (const { format, path } of wanted(files))
    await writeFile(path, "").catch((cause: NodeJS.ErrnoException) => {
      throw new Error(`cannot write the report to ${path} (${cause.code}); name another file with --${format}`);
    });
}

export async function writeReportFiles(report: Report, files: ReportFiles): Promise<void> {
  for (const { format, path } of wanted(files)) await writeFile(path, formats[format](report));
}
