// F3.1 and A1.1: the kit's provider collects subscriber records and desensitizes them as the reference's rules say.
import { desensitize } from "../../reference/data-provider/desensitization/desensitize.ts";
import type { Seen } from "../roles/user.ts";
import { expect } from "./procedure.ts";
import { canaries, subscriberRules } from "./subscriber-records.ts";
