"""What people meet inside Bitrix24 itself: automation rules, entries in the timeline, to-dos and notifications."""
