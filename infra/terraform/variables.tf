variable "region" {
  description = "AWS region of everything but the budget and the cost anomaly monitor, which have none."
  type        = string
  default     = "ap-northeast-2"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a region's code, such as ap-northeast-2."
  }
}

variable "name" {
  description = "First part of the name of all that is created; also the tag Project, by which costs are told apart."
  type        = string
  default     = "sentinel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name has 3 to 20 lower-case letters, digits and hyphens, and begins with a letter: load balancers allow 32 in all."
  }
}

variable "environment" {
  description = "Which of several deployments this is."
  type        = string
  default     = "production"

  validation {
    condition     = contains(["production", "staging", "development"], var.environment)
    error_message = "environment is production, staging or development."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the network; a /16 to /22 of a private range, not in use where operators come from."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.).*/(1[6-9]|2[0-2])$", var.vpc_cidr))
    error_message = "vpc_cidr is a private range (RFC 1918) of /16 to /22, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "In how many availability zones there are subnets. More zones find more GPU hosts; RDS needs two."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3, 4], var.zones)
    error_message = "zones is 2, 3 or 4."
  }
}

variable "endpoint_zones" {
  description = "In how many zones interface endpoints stand. Each costs by the hour and zone; one serves all zones while it is up."
  type        = number
  default     = 1

  validation {
    condition     = var.endpoint_zones >= 1 && var.endpoint_zones <= 4 && floor(var.endpoint_zones) == var.endpoint_zones
    error_message = "endpoint_zones is 1 to 4, and at most zones."
  }
}

variable "operator_cidrs" {
  description = "Private ranges (VPN, peered networks) that may open the Dagster UI. Empty: only through `aws ssm start-session`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for c in var.operator_cidrs : can(cidrnetmask(c)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", c))])
    error_message = "operator_cidrs are private ranges (RFC 1918): the UI has no login of its own and must not be public."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the load balancer, issued or imported (infra/README.md shows how to import one)."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn is the ARN of an ACM certificate."
  }
}

variable "control_plane_image" {
  description = "Image of webserver, daemon and code location, by digest: registry/repository@sha256:..."
  type        = string

  validation {
    condition     = can(regex("^[^@]+@sha256:[0-9a-f]{64}$", var.control_plane_image))
    error_message = "control_plane_image names its digest: registry/repository@sha256:<64 digits>. A tag could change under a running system."
  }
}

variable "worker_image" {
  description = "Image of the GPU worker, by digest."
  type        = string

  validation {
    condition     = can(regex("^[^@]+@sha256:[0-9a-f]{64}$", var.worker_image))
    error_message = "worker_image names its digest: registry/repository@sha256:<64 digits>. The AMI holds exactly that image."
  }
}

variable "worker_ami_id" {
  description = "AMI with weights and image baked in (module ami). null: the newest ECS_AL2023_NVIDIA, which pulls and downloads at each boot."
  type        = string
  default     = null

  validation {
    condition     = var.worker_ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.worker_ami_id))
    error_message = "worker_ami_id is ami-... or null."
  }
}

variable "bake_base_ami_id" {
  description = "What the baked AMI starts from. null: the ECS-optimised AL2023 GPU image that the region recommends today."
  type        = string
  default     = null

  validation {
    condition     = var.bake_base_ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.bake_base_ami_id))
    error_message = "bake_base_ami_id is ami-... or null."
  }
}

variable "bake_version" {
  description = "Version of the AMI's recipe; raise it with worker_image or bake_base_ami_id, as recipes never change."
  type        = string
  default     = "1.0.0"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.bake_version))
    error_message = "bake_version is x.y.z."
  }
}

variable "profile" {
  description = "Which models the workers run (SENTINEL_PROFILE)."
  type        = string
  default     = "cpu"

  validation {
    condition     = contains(["cpu", "permissive", "gpu"], var.profile)
    error_message = "profile is cpu, permissive or gpu."
  }
}

variable "instance_type" {
  description = "Of the GPU hosts."
  type        = string
  default     = "g5.xlarge"

  validation {
    condition     = can(regex("^g[4-6][a-z]*\\.[0-9]*xlarge$", var.instance_type))
    error_message = "instance_type is one with NVIDIA GPUs, such as g5.xlarge."
  }
}

variable "max_vcpus" {
  description = "Most vCPUs of each compute environment; a g5.xlarge has 4. The account's quota for G instances must allow it."
  type        = number
  default     = 16

  validation {
    condition     = var.max_vcpus >= 4 && var.max_vcpus <= 4096 && var.max_vcpus % 4 == 0
    error_message = "max_vcpus is a multiple of 4, 4 to 4096: a host of 4 vCPUs at least."
  }
}

variable "spot" {
  description = "GPU steps go to spot hosts first, and to on-demand ones after reclaims (SENTINEL_ON_DEMAND_QUEUE)."
  type        = bool
  default     = false
}

variable "step_time_limit_seconds" {
  description = "How long a stage may run as a job before it is stopped and tried once more. A clip's work takes minutes: raise it for footage of days in one file."
  type        = number
  default     = 14400 # 4 h, as the code's own

  validation {
    condition     = var.step_time_limit_seconds >= 60 # the least that Batch takes
    error_message = "step_time_limit_seconds is 60 or more."
  }
}

variable "host_prices" {
  description = "USD per hour of a GPU host in this region, by type and purchase, such as g5.xlarge/on-demand: steps, upgrades and budgets are priced by it. Where one is missing, the launcher's list price of us-east-1."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for host, usd in var.host_prices : can(regex("^[a-z0-9.-]+/(spot|on-demand)$", host)) && usd >= 0])
    error_message = "host_prices are numbers by type/spot or type/on-demand, such as { \"g5.xlarge/on-demand\" = 1.006 }."
  }
}

variable "fair_share" {
  description = "Queues serve the shares `uploads` and `backfills` by weight, and within a share by priority. Without, first come, first served. Changing it replaces the queues."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 180, 365, 731], var.log_retention_days)
    error_message = "log_retention_days is one of 30, 60, 90, 180, 365, 731."
  }
}

variable "footage_retention_days" {
  description = "Footage is deleted after so many days; it shows people, so keep it no longer than the law and the purpose ask."
  type        = number
  default     = 30

  validation {
    condition     = var.footage_retention_days >= 1 && var.footage_retention_days <= 3650
    error_message = "footage_retention_days is 1 to 3650."
  }
}

variable "artifact_retention_days" {
  description = "Tables between assets are deleted after so many days. A model upgrade can redo a video only from what is kept."
  type        = number
  default     = 365

  validation {
    condition     = var.artifact_retention_days >= 30 && var.artifact_retention_days <= 3650
    error_message = "artifact_retention_days is 30 to 3650."
  }
}

variable "database_class" {
  description = "Instance class of PostgreSQL; 400,000 vectors and their index stay in the memory of a db.t4g.small."
  type        = string
  default     = "db.t4g.small"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.database_class))
    error_message = "database_class is an RDS class, such as db.t4g.small."
  }
}

variable "database_multi_az" {
  description = "A standby in another zone, at twice the price."
  type        = bool
  default     = false
}

variable "database_password_version" {
  description = "Raise it by one to have a new password made; tasks read it at their next start."
  type        = number
  default     = 1

  validation {
    condition     = var.database_password_version >= 1 && floor(var.database_password_version) == var.database_password_version
    error_message = "database_password_version is a whole number from 1."
  }
}

variable "deletion_protection" {
  description = "Database and load balancer cannot be deleted, and the bucket only when empty. Switch off before tearing down."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Who is told of alarms, cost anomalies and the budget; each confirms once."
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for e in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", e))])
    error_message = "alarm_emails has at least one e-mail address: an alarm that nobody hears is none."
  }
}

variable "monthly_budget_usd" {
  description = "A mail comes at 80 % of it and when the month is forecast to exceed it; `sentinel cost` says what to expect."
  type        = number
  default     = 300

  validation {
    condition     = var.monthly_budget_usd >= 1
    error_message = "monthly_budget_usd is at least 1."
  }
}
