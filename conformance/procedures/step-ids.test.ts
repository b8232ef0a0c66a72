import { expect, test } from "vitest";
import { STEPS } from "../catalogue.ts";
import { annexA1 } from "./annex-a1.ts";
import { annexA2 } from "./annex-a2.ts";
import { figure3 } from "./figure-3.ts";
import { figure4 } from "./figure-4.ts";

test.each([figure3, figure4, annexA1, annexA2])(
  "$id replays every step of the catalogue in its order",
  ({ id, stepIds }) => {
    expect(stepIds).toEqual(STEPS.filter(({ procedure }) => procedure === id).map((step) => step.id));
  },
);
