"""Which callbacks are shown in the timeline of a CRM card, and when that is out of date."""
