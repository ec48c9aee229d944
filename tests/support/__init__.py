"""Parts that several tests share; nothing here is part of hookmill."""
