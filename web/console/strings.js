import { in_language } from '../strings.js';
import { en } from './strings/en.js';
import { zh } from './strings/zh.js';

/** Every word of the console, in the language of this page. */
export const words = in_language({ en, zh });
