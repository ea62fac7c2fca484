"""Pages and answers for the public: website forms, the customer's page, legal pages."""
