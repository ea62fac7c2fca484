"""What follows when nobody talked to the customer: a to-do in the CRM, and notifications in the messenger."""
